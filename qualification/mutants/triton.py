"""Faults of Triton kernels: masks, boundaries, constants, index arithmetic and dtypes."""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Iterator

from .python import is_jit
from .site import Site, replaced

RELATIONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
ARITHMETIC = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult},
    **{ast.LShift: ast.RShift, ast.RShift: ast.LShift},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr},
}
NAMES = {  # of attributes: what is meant -> what is easily written instead
    "minimum": ("boundary", "maximum"),
    "maximum": ("boundary", "minimum"),
    "float32": ("dtype", "float16"),
    "float16": ("dtype", "bfloat16"),
    "int64": ("dtype", "int32"),
    "int32": ("dtype", "int16"),
}
FAMILIES = ("stride_", "offs_", "pid_", "BLOCK_", "first", "row")
Edits = list[tuple[ast.AST, str]]  # what is replaced, by which text


def sites(path: str, text: str) -> Iterator[Site]:
    """Every fault of every function under @triton.jit."""
    starts = list(itertools.accumulate(map(len, text.splitlines(keepends=True)), initial=0))

    def place(line: int, column: int) -> int:
        return starts[line - 1] + column  # sources are ASCII, so bytes are characters

    def span(node: ast.AST) -> tuple[int, int]:
        end = place(node.end_lineno, node.end_col_offset)
        return place(node.lineno, node.col_offset), end

    for function in filter(is_jit, ast.walk(ast.parse(text))):
        for node in _mutable(function):
            for operator, edits in _faults(node, function):
                changes = [(*span(part), new) for part, new in edits]
                faulty = lambda changes=changes: replaced(text, changes)  # noqa: E731
                yield Site("triton", path, node.lineno, operator, faulty)


def _mutable(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Nodes of the body, without annotations and what masks put in place, which `_calls` knows."""
    silent = set()
    for node in ast.walk(function):
        if annotation := getattr(node, "annotation", None):
            silent |= set(ast.walk(annotation))
        if isinstance(node, ast.keyword) and node.arg == "other":
            silent.add(node.value)
    for statement in function.body:
        for node in ast.walk(statement):
            if hasattr(node, "lineno") and node not in silent:
                yield node


def _faults(node: ast.AST, function: ast.FunctionDef) -> Iterator[tuple[str, Edits]]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in RELATIONS:
            other = _changed(node, ops=[RELATIONS[type(operator)]()])
            yield "boundary", [(node, f"({other})")]
        case ast.BinOp(op=operator) if type(operator) in ARITHMETIC:
            other = _changed(node, op=ARITHMETIC[type(operator)]())
            yield "arithmetic", [(node, f"({other})")]
            if isinstance(operator, ast.BitAnd) and _is_mask(node):
                for kept in (node.left, node.right):
                    yield "mask weakened", [(node, f"({ast.unparse(kept)})")]
        case ast.AugAssign(op=operator) if type(operator) in ARITHMETIC:
            yield "arithmetic", [(node, _changed(node, op=ARITHMETIC[type(operator)]()))]
        case ast.Constant(value=bool()):
            yield "constant", [(node, str(not node.value))]
        case ast.Constant(value=int()):
            for step in (1, -1):
                yield "constant", [(node, f"({node.value + step})")]
        case ast.Subscript(slice=ast.Tuple(elts=[first, second])):
            swapped = f"{ast.unparse(second)}, {ast.unparse(first)}"
            yield "index axis", [(node.slice, swapped)]
        case ast.Attribute(attr=name) if name in NAMES:
            operator, other = NAMES[name]
            yield operator, [(node, f"{ast.unparse(node.value)}.{other}")]
        case ast.Name(ctx=ast.Load()):
            yield from _siblings(node, function)
        case ast.Call():
            yield from _calls(node)


def _calls(node: ast.Call) -> Iterator[tuple[str, Edits]]:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if "mask" in given:
        yield "mask dropped", [(given[name], "None") for name in ("mask", "other") if name in given]
    if "other" in given:
        yield "mask filled", [(given["other"], "1")]
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    texts = [ast.unparse(argument) for argument in node.args]
    if name == "where":
        for side in texts[1:]:
            yield "mask chosen", [(node, f"({side})")]
    if name == "cdiv":
        yield "boundary", [(node, f"(({texts[0]}) // ({texts[1]}))")]
    if name == "trans":
        yield "index axis", [(node, f"({texts[0]})")]
    if name == "range":
        stop = min(1, len(texts) - 1)
        yield "boundary", [(node.args[stop], f"{texts[stop]} + 1")]
    if name == "to":
        yield "cast dropped", [(node, f"({ast.unparse(node.func.value)})")]
    if name == "cast":
        yield "cast dropped", [(node, f"({texts[0]})")]
    for left, right in itertools.pairwise(node.args):
        if isinstance(left, ast.Name) and isinstance(right, ast.Name):
            yield "index swapped", [(left, right.id), (right, left.id)]


def _siblings(node: ast.Name, function: ast.FunctionDef) -> Iterator[tuple[str, Edits]]:
    """The next name of the same family in the function: another stride, another offset."""
    family = next((prefix for prefix in FAMILIES if node.id.startswith(prefix)), None)
    if family is None:
        return
    names = [argument.arg for argument in function.args.args]
    names += [other.id for other in ast.walk(function) if isinstance(other, ast.Name)]
    names = [name for name in dict.fromkeys(names) if name.startswith(family)]
    yield "index sibling", [(node, names[(names.index(node.id) + 1) % len(names)])]


def _changed(node: ast.AST, **attributes) -> str:
    new = copy.copy(node)
    for name, value in attributes.items():
        setattr(new, name, value)
    return ast.unparse(new)


def _is_mask(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        return _is_mask(node.left) or _is_mask(node.right)
    if isinstance(node, ast.Subscript):
        return _is_mask(node.value)
    return isinstance(node, ast.Compare) or (isinstance(node, ast.Name) and node.id == "inside")
