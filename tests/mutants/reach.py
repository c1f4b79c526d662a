"""A trap where a mutant is: a probe that does not fall into it says nothing about the mutant."""

from __future__ import annotations

import ast
from dataclasses import replace

from . import cpp
from .sites import Mutant

PYTHON_TRAP, CPP_TRAP = "raise AssertionError", "__builtin_trap();"


def trapped(mutant: Mutant, text: str) -> Mutant | None:
    """The original `text` of the file with a trap in the function that the mutant changes.

    None where the place is outside of all functions: whoever loads the file comes to it.
    """
    pairs = enumerate(zip(text, mutant.source, strict=False))
    place = next((at for at, (one, other) in pairs if one != other), 0)
    source = _python(text, place) if mutant.path.endswith(".py") else _cpp(text, place)
    return None if source is None else replace(mutant, source=source, more=())


def _python(text: str, place: int) -> str | None:
    line = text.count("\n", 0, place) + 1
    around = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and _first(node) <= line <= node.end_lineno
    ]
    if not around:
        return None
    step = max(around, key=_first).body[0]
    lines = text.splitlines(keepends=True)
    lines.insert(step.lineno - 1, f"{' ' * step.col_offset}{PYTHON_TRAP}\n")
    return "".join(lines)


def _first(function: ast.FunctionDef) -> int:
    return min(node.lineno for node in (function, *function.decorator_list))


def _cpp(text: str, place: int) -> str | None:
    piece = cpp.Source(text).piece_at(place)
    if not piece.scope.rpartition(".")[2]:
        return None
    return f"{text[: piece.start]} {CPP_TRAP}{text[piece.start :]}"
