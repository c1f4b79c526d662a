"""Wrong control: conditions, statements, order, defaults."""

from __future__ import annotations

import ast
import itertools

from ..python import Edit
from .guards import is_check
from .registry import rule
from .state import is_hook_call
from .values import called

OPPOSITE = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
SIMPLE = ast.Expr | ast.Assign | ast.AugAssign | ast.Delete
GIVEN = {"get": 1, "getattr": 2, "pop": 1, "setdefault": 1, "next": 1}  # place of the default


@rule("condition", ast.If, ast.IfExp, ast.While)
def negated(node, source):
    """`if c` becomes `if not c`."""
    if not _only_raises(node):  # else a deleted check is the stronger fault
        yield "negated", source.replace(node.test, f"not ({source.text(node.test)})")


@rule("condition", ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
def filter_dropped(node, source):
    """A filter of a comprehension lets everything through."""
    for part in node.generators:
        for test in part.ifs:
            yield "filter", source.replace(test, "True")


@rule("condition", ast.BoolOp)
def operands(node, source):
    """One part is missing; `and` becomes `or`."""
    word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    neutral = "True" if word == "and" else "False"
    for value in node.values:
        yield "operand", source.replace(value, neutral)
    yield "connective", source.between(node.values[0], node.values[1], word, other)


@rule("condition", ast.Compare)
def opposite(node, source):
    """`==` becomes `!=`."""
    if len(node.ops) == 1 and type(node.ops[0]) in OPPOSITE:
        old, new = OPPOSITE[type(node.ops[0])]
        yield "opposite", source.between(node.left, node.comparators[0], old, new)


@rule("statement", ast.Expr, ast.AugAssign, ast.Delete, ast.Assign, ast.Continue, ast.Break)
def deleted(node, source):
    """A step is left out. A first binding stays: without it the next line would not run."""
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    if isinstance(node, ast.Expr) and (not is_call or is_hook_call(node) or is_check(node)):
        return
    if isinstance(node, ast.Assign) and not _binds_again(node, source):
        return
    yield "deleted", source.replace(node, "pass")


@rule("statement", ast.Return)
def early_return(node, source):
    """A return before the end of its function is missing."""
    function = source.function(node)
    if function is not None and node not in function.body:
        yield "return-deleted", source.replace(node, "pass")


@rule("barrier", ast.With)
def unguarded(node, source):
    """The block runs without its lock, device or other guard."""
    if any(item.optional_vars is not None for item in node.items):
        return
    start, end = source.span(node)[0], source.span(node.items[-1].context_expr)[1]
    yield "unguarded", (Edit(start, end, "if True"),)


@rule("order", ast.FunctionDef, ast.If, ast.For, ast.With, ast.Try, ast.Module, ast.ClassDef)
def swapped(node, source):
    """Two neighbouring steps that touch the same thing swap."""
    for body in (node.body, getattr(node, "orelse", [])):
        for first, second in itertools.pairwise(body):
            if _depend(first, second):
                texts = source.text(first), source.text(second)
                edits = source.replace(first, texts[1]) + source.replace(second, texts[0])
                yield "swapped", edits


@rule("order", ast.Call)
def unsorted(node, source):
    """What was sorted comes as it is."""
    if called(node) == "sorted":
        yield "unsorted", source.replace(node, f"list({source.text(node.args[0])})")
    if called(node) == "reversed":
        yield "unsorted", source.replace(node, f"iter({source.text(node.args[0])})")


@rule("default", ast.FunctionDef)
def parameter(node, source):
    """Another default of a parameter."""
    for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
        new = _other_default(default, source)
        if new is not None:
            yield "changed", source.replace(default, new)


@rule("default", ast.Call)
def given(node, source):
    """Another answer where a name is not there: `get(name, default)` and the like."""
    place = GIVEN.get(called(node))
    if place is not None and len(node.args) > place:
        new = _other_default(node.args[place], source) or "None"
        yield "given", source.replace(node.args[place], new)


def _other_default(node, source) -> str | None:
    if not isinstance(node, ast.Constant):
        return f"({source.text(node)}, )" if isinstance(node, ast.Name) else None
    value = node.value
    if isinstance(value, bool):
        return str(not value)
    if value is None:
        return "0"
    if isinstance(value, int | float):
        return f"({value} + 1)"
    return "''" if value else "'other'"


def _only_raises(node) -> bool:
    return isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise) and not node.orelse


def _binds_again(node: ast.Assign, source) -> bool:
    """Whether what is assigned exists without this statement too."""
    target = node.targets[0]
    if isinstance(target, ast.Attribute | ast.Subscript):
        return True
    function = source.function(node)
    if function is None or len(node.targets) > 1:
        return False
    bound = {arg.arg for arg in (*function.args.args, *function.args.kwonlyargs)}
    names = (other for other in ast.walk(function) if isinstance(other, ast.Name))
    bound |= {n.id for n in names if isinstance(n.ctx, ast.Store) and n.lineno < node.lineno}
    return all(n.id in bound for n in ast.walk(target) if isinstance(n, ast.Name))


def _depend(first, second) -> bool:
    """Two plain steps of which one changes what the other reads, both there before.

    Two checks are left alone: which of two errors comes first is promised nowhere.
    """
    if not isinstance(first, SIMPLE) or not isinstance(second, SIMPLE):
        return False
    if is_check(first) or is_check(second):
        return False
    stored = _names(first, ast.Store)
    if stored & _names(second, ast.Load) and isinstance(first, ast.Assign):
        return bool(stored & _names(first, ast.Load))  # x = f(x): x exists before
    shared = _names(first, ast.Load) & _names(second, ast.Load)
    return bool(shared) and isinstance(first, ast.Expr) != isinstance(second, ast.Expr)


def _names(node, context) -> set[str]:
    names = (n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, context))
    return {name.id for name in names}
