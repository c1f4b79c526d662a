"""Faults of Python sources: cosmic-ray's operators, at places that compute something."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial

from .site import Site

# Of its eleven replacements of one binary operator and six of a comparison, the likeliest mistake.
OPERATORS = re.compile(
    r"core/(?!ReplaceBinary|ReplaceComparison|ReplaceUnary|Variable)\w+"
    r"|core/ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Add|Div_Mul|FloorDiv_Mul|Mod_FloorDiv"
    r"|Pow_Mul|LShift_RShift|RShift_LShift|BitAnd_BitOr|BitOr_BitAnd|BitXor_BitOr)"
    r"|core/ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Is_IsNot"
    r"|IsNot_Is)"
    r"|core/ReplaceUnaryOperator_(Delete_Not|Delete_USub|Delete_Invert)"
)
JIT = "triton.jit"  # functions under it have operators of their own
CACHES = ("functools.cache", "functools.lru_cache")  # without one only time is lost
Place = tuple[int, int]  # line from 1, column from 0


@cache
def _operators() -> dict:
    from cosmic_ray.plugins import get_operator, operator_names

    return {name: get_operator(name)() for name in operator_names() if OPERATORS.fullmatch(name)}


def sites(path: str, text: str) -> Iterator[Site]:
    """Every fault that cosmic-ray knows for this file, but those nobody could notice."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    silent, counts = list(_silent(ast.parse(text))), Counter()
    for node in ast_nodes(get_ast(text)):
        for name, operator in _operators().items():
            for start, _ in operator.mutation_positions(node):
                faulty = partial(mutate_code, text, operator, counts[name])
                counts[name] += 1
                if not any(first <= start < end for first, end in silent):
                    yield Site("python", path, start[0], name.removeprefix("core/"), faulty)


def is_jit(node: ast.AST) -> bool:
    """A function that Triton compiles."""
    decorators = getattr(node, "decorator_list", ())
    return any(ast.unparse(decorator).startswith(JIT) for decorator in decorators)


def _silent(tree: ast.AST) -> Iterator[tuple[Place, Place]]:
    """Spans that say nothing to a machine: messages, annotations; and what Triton compiles."""
    for node in ast.walk(tree):
        if is_jit(node):
            yield (node.decorator_list[0].lineno, 0), (node.end_lineno + 1, 0)
        parts = [getattr(node, name, None) for name in ("annotation", "returns")]
        if isinstance(node, ast.Raise | ast.JoinedStr):
            parts.append(node)
        for decorator in getattr(node, "decorator_list", ()):
            if ast.unparse(decorator).startswith(CACHES):
                yield (decorator.lineno, 0), (decorator.lineno + 1, 0)
        for part in filter(None, parts):
            yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)
