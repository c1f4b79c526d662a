"""A place in our code and the fault to put there; which faults are accepted as equivalent."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from qualification.report import ROOT

EQUIVALENTS = Path(__file__).with_name("equivalents.txt")


@dataclass(frozen=True)
class Site:
    """One fault. `faulty()` gives the text of the whole file with it; None: there is none."""

    family: str  # python, triton, cuda or known
    path: str  # from the root
    line: int
    operator: str
    faulty: Callable[[], str | None] = field(compare=False)

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.family}/{self.operator}"


@dataclass(frozen=True)
class Mutant:
    """A site whose fault was put in."""

    site: Site
    source: str

    @cached_property
    def diff(self) -> tuple[str, ...]:
        """`- old` and `+ new`, line by line, without indentation."""
        original = (ROOT / self.site.path).read_text(encoding="utf-8").splitlines()
        lines = difflib.unified_diff(original, self.source.splitlines(), n=0, lineterm="")
        changed = (line for line in [*lines][2:] if line[0] in "-+" and line[1:].strip())
        return tuple(f"{line[0]} {line[1:].strip()}" for line in changed)


def mutant_of(site: Site) -> Mutant | None:
    """None where the fault is none, or no Python."""
    source = site.faulty()
    if source is None or source == (ROOT / site.path).read_text(encoding="utf-8"):
        return None
    if site.path.endswith(".py"):
        try:
            ast.parse(source)
        except SyntaxError:
            return None
    return Mutant(site, source)


def replaced(text: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """`text` with characters [start, end) of each edit replaced; edits do not overlap."""
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def blocks(text: str) -> list[list[str]]:
    """Lines of each block between empty lines, without comments."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [block.split("\n") for block in text.strip("\n").split("\n\n") if block]


def read_equivalents(text: str | None = None) -> dict[tuple[str, tuple[str, ...]], str]:
    """(path, diff) -> why no call can tell it from the original. Raises ValueError.

    A block is `PATH: reason`, then the lines of the diff as a survivor is printed.
    """
    text = EQUIVALENTS.read_text(encoding="utf-8") if text is None else text
    found = {}
    for head, *diff in blocks(text):
        path, colon, reason = head.partition(": ")
        if not (colon and diff and all(line[:2] in ("- ", "+ ") for line in diff)):
            raise ValueError(f"want `PATH: reason`, then `- old` and `+ new`, got {head!r}")
        found[path, tuple(diff)] = reason
    return found
