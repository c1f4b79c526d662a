"""Where rules are kept."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

OPERATORS = {
    "boundary": "a comparison takes or leaves its edge, a range ends later, a ceiling is a floor",
    "mask": "a mask is dropped or weakened, what it puts in place is another value",
    "arithmetic": "another arithmetic or bit operator",
    "constant": "a number is one more or less, a flag is turned",
    "barrier": "a barrier is gone, earlier or not for all; a lock or another guard is gone",
    "order": "two dependent steps swap, what was sorted comes as it is",
    "dtype": "a narrower type, a cast that is missing",
    "index": "another stride, offset, axis, position; two arguments swap",
    "hook": "a hook is not called, or not registered",
    "cachekey": "a part of a key is missing",
    "statement": "a statement is deleted",
    "condition": "a condition is negated, or one of its parts is missing",
    "default": "another default",
    "exception": "a check is deleted, an exception is let through or kept back",
}


@dataclass(frozen=True)
class Rule:
    """`find(node, source)` yields (variant, edits)."""

    operator: str
    find: Callable


RULES: dict[type[ast.AST], list[Rule]] = defaultdict(list)


def rule(operator: str, *types: type[ast.AST]):
    """Decorator: ask this function at every node of these types."""
    if operator not in OPERATORS:
        raise ValueError(f"unknown operator {operator!r}")

    def register(find):
        for kind in types:
            RULES[kind].append(Rule(operator, find))
        return find

    return register
