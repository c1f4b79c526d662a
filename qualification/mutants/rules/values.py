"""Wrong values: boundaries, operators, constants, types, indices."""

from __future__ import annotations

import ast

from .registry import rule

FLIPPED = {ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")}
EXTREMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}
OPERATORS = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
}
BITS = {
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "|"),
}
NARROWER = {
    "float64": "float32",
    "float32": "float16",
    "float16": "bfloat16",
    "int64": "int32",
    "int32": "int16",
}
CASTS = {"to", "double", "float", "half", "long", "int"}
FAMILIES = ("stride_", "offs_", "pid_", "BLOCK_")


@rule("boundary", ast.Compare)
def relation(node, source):
    """`<` becomes `<=`."""
    for operator, (left, right) in zip(node.ops, _pairs(node), strict=True):
        if type(operator) in FLIPPED:
            yield "relation", source.between(left, right, *FLIPPED[type(operator)])


@rule("boundary", ast.Call)
def extreme_or_ceiling(node, source):
    """`min` becomes `max`, `cdiv(a, b)` becomes `a // b`, `range` ends one later."""
    name = called(node)
    if name in EXTREMES and node.args:
        new = source.text(node.func).removesuffix(name) + EXTREMES[name]
        yield "extreme", source.replace(node.func, new)
    if name == "cdiv":
        rows, side = map(source.text, node.args)
        yield "floor", source.replace(node, f"(({rows}) // ({side}))")
    if name == "range":
        stop = node.args[min(1, len(node.args) - 1)]
        yield "off-by-one", source.replace(stop, f"{source.text(stop)} + 1")


@rule("boundary", ast.Slice)
def slice_bound(node, source):
    """A slice starts or ends one later."""
    for bound in (node.lower, node.upper):
        if bound is not None:
            yield "off-by-one", source.replace(bound, f"{source.text(bound)} + 1")


@rule("arithmetic", ast.BinOp)
def operator(node, source):
    """Another operator; texts and lists are left alone."""
    sides = (node.left, node.right)
    if any(
        isinstance(side, ast.List | ast.Tuple | ast.JoinedStr) or _is_text(side) for side in sides
    ):
        return
    for variant, table in (("operator", OPERATORS), ("bits", BITS)):
        if type(node.op) in table:
            yield variant, source.between(*sides, *table[type(node.op)])


@rule("arithmetic", ast.AugAssign)
def augmented(node, source):
    """`+=` becomes `-=`."""
    table = OPERATORS | BITS
    if type(node.op) in table:
        old, new = table[type(node.op)]
        yield "augmented", source.between(node.target, node.value, f"{old}=", f"{new}=")


@rule("arithmetic", ast.UnaryOp)
def sign(node, source):
    """A minus is lost."""
    if isinstance(node.op, ast.USub) and not isinstance(source.parent(node), ast.Subscript):
        yield "sign", source.replace(node, f"({source.text(node.operand)})")


@rule("constant", ast.Constant)
def constant(node, source):
    """One more, one less, the other flag."""
    value = node.value
    if isinstance(source.parent(node), ast.Subscript | ast.keyword | ast.arguments):
        return  # an index, an option or a default: other operators
    if isinstance(value, bool):
        yield "flag", source.replace(node, str(not value))
    elif isinstance(value, int):
        yield "plus", source.replace(node, f"({value} + 1)")
        if value > 0:
            yield "minus", source.replace(node, f"({value} - 1)")
    elif isinstance(value, float):
        yield "double", source.replace(node, f"({source.text(node)} * 2 + 1)")


@rule("constant", ast.keyword)
def option(node, source):
    """The same for `name=value` in a call."""
    value = node.value
    if isinstance(value, ast.Constant) and isinstance(value.value, bool):
        yield "option", source.replace(value, str(not value.value))
    elif isinstance(value, ast.Constant) and isinstance(value.value, int) and node.arg != "other":
        yield "option", source.replace(value, f"({value.value} + 1)")


@rule("dtype", ast.Attribute)
def narrower(node, source):
    """float32 becomes float16."""
    if node.attr in NARROWER and isinstance(node.ctx, ast.Load):
        owner = source.text(node.value)
        if owner in ("tl", "torch"):
            yield "narrowed", source.replace(node, f"{owner}.{NARROWER[node.attr]}")


@rule("dtype", ast.Call)
def cast(node, source):
    """`.to(...)`, `.double()` and the like are missing."""
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if method in CASTS and (method == "to" or not node.args):
        yield "cast-dropped", source.replace(node, f"({source.text(node.func.value)})")


@rule("index", ast.Subscript)
def axis(node, source):
    """Rows for columns, the first for the last."""
    if isinstance(node.slice, ast.Tuple) and len(node.slice.elts) == 2:
        first, second = map(source.text, node.slice.elts)
        yield "axis", source.replace(node.slice, f"{second}, {first}")
    number = _number(node.slice)
    if number is not None:
        yield "position", source.replace(node.slice, "0" if number else "1")


@rule("index", ast.Call)
def arguments(node, source):
    """Two neighbouring arguments swap; `stride(0)` for `stride(1)`; no transpose."""
    for left, right in zip(node.args, node.args[1:], strict=False):
        if _may_swap(left, right):
            texts = source.text(left), source.text(right)
            yield "swapped", (*source.replace(left, texts[1]), *source.replace(right, texts[0]))
    name = called(node)
    if name in ("stride", "size") and len(node.args) == 1:
        number = _number(node.args[0])
        if number is not None:
            yield "axis", source.replace(node.args[0], "0" if number else "1")
    if name in ("t", "trans") and isinstance(node.func, ast.Attribute):
        kept = node.args[0] if node.args else node.func.value
        yield "transposed", source.replace(node, f"({source.text(kept)})")


@rule("index", ast.Tuple)
def strides_in_tuple(node, source):
    """Two neighbouring strides or sizes of an argument list swap."""
    if not isinstance(node.ctx, ast.Load):
        return
    for left, right in zip(node.elts, node.elts[1:], strict=False):
        if isinstance(left, ast.Starred) and _may_swap(left, right):
            texts = source.text(left), source.text(right)
            yield "swapped", (*source.replace(left, texts[1]), *source.replace(right, texts[0]))


@rule("index", ast.Name)
def sibling(node, source):
    """Another stride, another offset: the next name of the family in the function."""
    family = next((name for name in FAMILIES if node.id.startswith(name)), None)
    function = source.function(node)
    if family is None or function is None or not isinstance(node.ctx, ast.Load):
        return
    if isinstance(source.parent(node), ast.Call):
        return  # swapped there
    names = [arg.arg for arg in function.args.args]
    names += [n.id for n in ast.walk(function) if isinstance(n, ast.Name)]
    names = [name for name in dict.fromkeys(names) if name.startswith(family)]
    other = names[(names.index(node.id) + 1) % len(names)]
    yield "sibling", source.replace(node, other)


@rule("index", ast.keyword)
def dim(node, source):
    """`dim=0` for `dim=1`."""
    if node.arg == "dim" and isinstance(node.value, ast.Constant):
        yield "dim", source.replace(node.value, "0" if node.value.value else "1")


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    function = node.func
    return getattr(function, "attr", None) or getattr(function, "id", "")


def _pairs(node: ast.Compare):
    return list(zip([node.left, *node.comparators], node.comparators, strict=False))


def _is_text(node) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _number(node) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _number(node.operand)
    is_int = isinstance(node, ast.Constant) and type(node.value) is int
    return node.value if is_int else None


def _may_swap(left, right) -> bool:
    """Names of one kind, or starred calls of one method: what could be confused."""
    if isinstance(left, ast.Starred) and isinstance(right, ast.Starred):
        left, right = left.value, right.value
        return isinstance(left, ast.Call) and isinstance(right, ast.Call)
    return isinstance(left, ast.Name) and isinstance(right, ast.Name)
