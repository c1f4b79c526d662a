"""Text of a C++ or CUDA source: what is code, in which function, in which statements.

The sources are laid out by one formatter: binary operators stand between blanks, templates do not,
and a preprocessor line begins with `#`. That makes patterns enough where a parser would need CUDA.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from .python import Edit

SILENT = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:\\\n|[^\n])*",
    re.DOTALL | re.MULTILINE,
)
TYPE = re.compile(r"\b(?:struct|class)\s+(\w+)[^()]*$")
CALLED = re.compile(r"([\w~]+|operator\S+)\s*\(")
NO_FUNCTIONS = {"if", "for", "while", "switch", "catch", "return", "__launch_bounds__", "sizeof",
                "decltype", "__attribute__", "alignas"}  # fmt: skip
DECLARATION = re.compile(
    r"^(?:(?:const|constexpr|static|auto|unsigned|thread_local)\b\s*|using\b.*|template\b.*)*"
    r"[\w:]+(?:<.*>)?[\s*&]+(?:const\s+)?(\w+)\s*(?:[=;{(\[,]|$)"
)
WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Piece:
    """Characters [start, end) between two of `;{}`, outside of parentheses; `end` is past a `;`."""

    start: int
    end: int
    text: str
    scope: str  # `class.function`, "" outside of both
    depth: int  # of braces
    ending: str  # `;`, `{` or `}`

    @property
    def declares(self) -> str:
        """The first name that this declares, or ""."""
        found = DECLARATION.match(self.text.strip())
        is_step = re.match(r"\s*(return|throw|delete|else|goto|case)\b", self.text)
        return found[1] if found and not is_step else ""

    @property
    def is_step(self) -> bool:
        """A statement inside a function that declares nothing."""
        return self.ending == ";" and bool(self.scope.rpartition(".")[2]) and not self.declares

    @property
    def names(self) -> set[str]:
        return set(WORD.findall(self.text))


class Source:
    """`code` is the text with comments, strings and preprocessor lines blanked: same places."""

    def __init__(self, text: str):
        self.whole = text
        self.code = SILENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)

    def edit(self, start: int, end: int, text: str) -> Edit:
        """Characters become bytes, as edits count."""
        first = len(self.whole[:start].encode())
        return Edit(first, first + len(self.whole[start:end].encode()), text)

    def line(self, place: int) -> int:
        return self.whole.count("\n", 0, place) + 1

    @cached_property
    def pieces(self) -> list[Piece]:
        """All pieces in order; every character of code is in one."""
        found, scopes, start, round_depth = [], [], 0, 0
        for place, char in enumerate(self.code):
            round_depth += (char in "([") - (char in ")]")
            if round_depth or char not in ";{}":
                continue
            end = place + (char == ";")
            text = self.code[start:end]
            found.append(Piece(start, end, text, _joined(scopes), len(scopes), char))
            if char == "{":
                scopes.append(_scope_of(text, scopes))
            elif char == "}" and scopes:
                scopes.pop()
            start = place + 1
        found.append(Piece(start, len(self.code), self.code[start:], "", 0, "}"))
        return found

    def piece_at(self, place: int) -> Piece:
        """The piece that a character lies in."""
        low, high = 0, len(self.pieces) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.pieces[middle].start <= place else (low, middle - 1)
        return self.pieces[low]

    @cached_property
    def members(self) -> set[str]:
        """Names that follow a dot or an arrow somewhere."""
        return set(re.findall(r"(?:\.|->)(\w+)", self.code))

    def names_in(self, scope: str) -> set[str]:
        """Every name in the function that `scope` is."""
        return self._names.get(scope, set())

    @cached_property
    def _names(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for piece in self.pieces:
            found.setdefault(piece.scope, set()).update(piece.names)
        return found

    def scope_at(self, place: int) -> str:
        """`class.function` around a place, or the function that a piece is the head of."""
        piece = self.piece_at(place)
        return piece.scope or _head_of(piece.text) or "file"

    def close(self, place: int) -> int:
        """Where the parenthesis that opens at `place` is closed."""
        depth = 0
        for at in range(place, len(self.code)):
            depth += (self.code[at] in "([{") - (self.code[at] in ")]}")
            if depth == 0:
                return at
        raise ValueError(f"line {self.line(place)}: nothing closes this parenthesis")


def _scope_of(text: str, scopes: list[tuple[str, str]]) -> tuple[str, str]:
    """(kind, name) of what a brace opens: a type, a function, or a block of neither."""
    if any(kind == "function" for kind, _ in scopes):
        return "block", ""
    kind = TYPE.search(text)
    if kind:
        return "type", kind[1]
    name = _head_of(text)
    return ("function", name) if name else ("block", "")


def _head_of(text: str) -> str:
    names = [name for name in CALLED.findall(text) if name not in NO_FUNCTIONS]
    return names[0] if names else ""


def _joined(scopes: list[tuple[str, str]]) -> str:
    """`type.function`; ends in a dot inside a type and outside of its functions."""
    names = [name for kind, name in scopes if kind == "type"]
    functions = [name for kind, name in scopes if kind == "function"]
    return ".".join([*names, *(functions or [""] * bool(names))])
