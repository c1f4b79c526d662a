"""Faults of C++ and CUDA sources: patterns over text that one formatter has laid out.

Binary operators stand between blanks, templates do not, and a preprocessor line begins with `#`:
patterns are enough where a parser would need CUDA. What a compiler refuses is no mutant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .site import Site, replaced

SILENT = re.compile(  # comments, strings, preprocessor lines, heads of templates, assertions
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:\\\n|[^\n])*"
    r"|^[ \t]*(?:template|static_assert)\b[^\n]*",
    re.DOTALL | re.MULTILINE,
)
BINARY = re.compile(r"(?<=[\w)\]}] )(<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%<>&|^])=?(?= [\w(!~*&-])")
OTHER = {
    **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&"},
    **{"+": "-", "-": "+", "*": "+", "/": "*", "%": "/", "<<": ">>", ">>": "<<"},
    **{"&": "|", "|": "&", "^": "|"},
}
WORDS = {  # what is meant -> what is easily written instead
    **{"std::min": "std::max", "std::max": "std::min", "true": "false", "false": "true"},
    **{"int64_t": "int32_t", "uint64_t": "uint32_t", "int32_t": "int16_t", "uint32_t": "uint16_t"},
    **{"row": "column", "column": "row", "rows": "columns", "columns": "rows", "n": "k", "k": "n"},
    **{"groups": "chunks", "chunks": "groups", "lane": "warp", "warp": "lane", "low": "high"},
    **{"high": "low", "first": "second", "second": "first", "scales": "codes", "codes": "scales"},
    **{"begin": "end", "end": "begin", "temp_state": "temp_dq", "temp_dq": "temp_state"},
    **{"x": "y", "y": "x", "z": "w", "w": "z"},
}
WORD = re.compile(rf"\b(?:{'|'.join(WORDS)})\b(?!\()")
NUMBER = re.compile(r"(?<![\w.])(?:0x[0-9a-fA-F]+|\d+)(?![\w.]|\s*>)")
SUBSCRIPT = re.compile(r"(?<=[\w\])])\[([^][\s][^][]*)\]")
ARGUMENTS = re.compile(r"(?<=[(,])(\s*)(\w+), (\w+)(?=[,)])")
GUARD = re.compile(r"\bif \(|\b(?:TORCH_CHECK\w*)\(")
CHOICE = re.compile(r"(?:= |return |[(,] ?)([^?:;,{(\[=]+(?:\([^()]*\))?) \? ")
BARRIER = re.compile(r"__sync\w+\([^;]*\);")
STEP = re.compile(r"(?<=[;{}])\s*\n[ \t]*([\w:.>*+\[\]-]+(?:\(| [-+*/|&<>]*= )[^;{}]*;)")
NO_STEP = re.compile(r"(?:return|throw|if|for|while|else|using|case|SHARED_ARRAY)\b|__sync")
Edit = tuple[int, int, str]


def sites(path: str, text: str) -> Iterator[Site]:
    """Every fault that the patterns know for this file."""
    code = SILENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    for operator, edits in _faults(code):
        line = text.count("\n", 0, edits[0][0]) + 1
        faulty = lambda edits=edits: replaced(text, edits)  # noqa: E731
        yield Site("cuda", path, line, operator, faulty)


def _faults(code: str) -> Iterator[tuple[str, list[Edit]]]:
    for found in BINARY.finditer(code):
        yield "operator", [(*found.span(1), OTHER[found[1]])]
    for found in WORD.finditer(code):
        yield "word", [(*found.span(), WORDS[found[0]])]
    for found in NUMBER.finditer(code):
        for sign in ("+", "-") if int(found[0], 0) else ("+",):
            yield "constant", [(*found.span(), f"({found[0]} {sign} 1)")]
    for found in SUBSCRIPT.finditer(code):
        yield "index", [(found.end(1), found.end(1), " + 1")]
    for found in ARGUMENTS.finditer(code):
        if found[2] != found[3]:
            yield "swapped", [(*found.span(2), found[3]), (*found.span(3), found[2])]
    for found in CHOICE.finditer(code):
        for value in ("true", "false"):
            yield "choice", [(*found.span(1), value)]
    for found in STEP.finditer(code):
        if not NO_STEP.match(found[1]):
            yield "deleted", [(*found.span(1), ";")]
    yield from _guards(code)
    yield from _barriers(code)


def _guards(code: str) -> Iterator[tuple[str, list[Edit]]]:
    """What keeps a thread, or a caller, from what must not be is gone; or only a part of it."""
    for found in GUARD.finditer(code):
        is_check, end = found[0].startswith("TORCH"), _closing(code, found.end())
        if is_check:
            end = _closing(code, found.end(), ",")
        condition = code[found.end() : end]
        if "constexpr" in code[found.start() - 12 : found.end()]:
            continue
        for value in ("true",) if is_check else ("true", "false"):
            yield "guard", [(found.end(), end, value)]
        for joined, neutral in ((" || ", "false"), (" && ", "true")):
            start = found.end()
            parts = condition.split(joined)
            for part in parts if len(parts) > 1 else ():
                if part.count("(") == part.count(")"):
                    yield "guard weakened", [(start, start + len(part), neutral)]
                start += len(part) + len(joined)


def _barriers(code: str) -> Iterator[tuple[str, list[Edit]]]:
    """A barrier is gone, not all threads reach it, or it stands before the step it follows."""
    for found in BARRIER.finditer(code):
        yield "barrier deleted", [(*found.span(), "")]
        for some in ("threadIdx.x % 32 < 16", "threadIdx.x < 32"):
            yield "barrier divergent", [(found.start(), found.start(), f"if ({some}) ")]
        before = code.rfind(";", 0, found.start())
        begin = max(code.rfind(mark, 0, before) for mark in ";{}") + 1
        if before > 0:
            yield "barrier earlier", [(begin, begin, found[0]), (*found.span(), "")]


def _closing(code: str, start: int, mark: str = ")") -> int:
    """Where what begins at `start`, inside of a parenthesis, ends at `mark`."""
    depth = 0
    for at in range(start, len(code)):
        if not depth and code[at] == mark:
            return at
        depth += (code[at] in "([{") - (code[at] in ")]}")
    raise ValueError(f"nothing closes the parenthesis at {start}")
