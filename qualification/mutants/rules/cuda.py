"""The operators over C++ and CUDA sources: patterns, as cpp.py reads them.

Each rule is a generator over (operator, variant, place, edits).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from ..cpp import WORD, Piece, Source
from ..python import Edit, Site

RELATIONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
EQUALITIES = {"==": "!=", "!=": "=="}
ARITHMETIC = {"+": "-", "-": "+", "*": "+", "/": "*", "%": "/"}
BITS = {"<<": ">>", ">>": "<<", "&": "|", "|": "&", "^": "|"}
CONNECTIVES = {"&&": "||", "||": "&&"}
BINARY = re.compile(
    r"(?<=[\w)\]}])(\s+)(<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%<>&|^])(\s+)(?=[\w(!~*&-])"
)
AUGMENTED = re.compile(r"\s(<<|>>|[-+*/%&|^])=\s")
EXTREME = re.compile(r"\bstd::(min|max)\b")
NUMBER = re.compile(r"(?<![\w.])(0x[0-9a-fA-F]+|\d+)(?![\w.]|\s*>)")
FLAG = re.compile(r"\b(true|false)\b")
NARROWER = {"int64_t": "int32_t", "uint64_t": "uint32_t", "int32_t": "int16_t",
            "uint32_t": "uint16_t", "uintptr_t": "uint32_t"}  # fmt: skip
WIDE = re.compile(r"\b(" + "|".join(NARROWER) + r")\b(?=\s+\w|\{|>\()")
FAMILIES = (
    ("row", "column"), ("n", "k"), ("groups", "chunks"), ("rows", "columns"), ("lane", "warp"),
    ("low", "high"), ("first", "second"), ("x", "y"), ("z", "w"), ("word", "field"),
    ("temp_state", "temp_dq"), ("scales", "codes"), ("begin", "end"), ("number", "next"),
)  # fmt: skip
AXES = set("xyzw")
PARTS = AXES | set("nk")  # names of members: alone they are another thing
SIBLING = {one: other for pair in FAMILIES for one, other in (pair, pair[::-1])}
SUBSCRIPT = re.compile(r"(?<=[\w\])])\[(?=[^\]\s])")
SWAPPABLE = re.compile(r"(?<=[(,])(\s*)(\w+), (\w+)(?=[,)])")
BARRIER = re.compile(r"__sync\w+\([^;]*\);")
RELATIVE = re.compile(r" [<>]=? |present")
GUARD = re.compile(r"\bif \(")
LEAVES = re.compile(r"\s*(?:continue|return[^;]*|break);")
THROWS = re.compile(r"\s*throw\b")
CHECK = re.compile(r"\b(?:TORCH_CHECK\w*)\(")
CHECKER = re.compile(r"^\s*check_\w+\(")
NO_STEP = re.compile(r"return\b.|(throw|using|if|for|while|else|SHARED_ARRAY)\b|(?![\w+*-]+)|\* ")
TERNARY = re.compile(
    r"(?:(?<![=!<>])[=,?:]\s|\breturn\s|[(\[{])\s*"
    r"((?:[^?:;,{(\[=]|[=!<>]=|\([^()]*\)|\[[^][]*\])*?) \? "
)
TARGET = re.compile(r"\s*(?:[\w:<>]+[ *&]+)*([A-Za-z_][\w.]*)[^=(]*?[-+*/|&<>]?=(?!=)")
Found = Iterator[tuple[str, str, int, tuple[Edit, ...]]]


def sites(text: str) -> Iterator[Site]:
    """Every fault that the patterns know for this file, in the order of its text."""
    source = Source(text)
    found = [fault for rule in RULES for fault in rule(source)]
    for operator, variant, place, edits in sorted(found, key=lambda fault: fault[2]):
        scope = source.scope_at(place)
        if not scope.startswith("operator"):
            yield Site(operator, variant, scope, source.line(place), edits)


def binary(source: Source) -> Found:
    """`<` becomes `<=`, `+` becomes `-`, `&&` becomes `||`."""
    kinds = (
        ("boundary", "relation", RELATIONS), ("condition", "opposite", EQUALITIES),
        ("arithmetic", "operator", ARITHMETIC), ("arithmetic", "bits", BITS),
        ("condition", "connective", CONNECTIVES),
    )  # fmt: skip
    for found in BINARY.finditer(source.code):
        for operator, variant, table in kinds:
            if found[2] in table and _in_code(source, found.start(2)):
                edit = source.edit(*found.span(2), table[found[2]])
                yield operator, variant, found.start(2), (edit,)


def augmented(source: Source) -> Found:
    """`+=` becomes `-=`."""
    for found in AUGMENTED.finditer(source.code):
        new = (ARITHMETIC | BITS)[found[1]]
        yield "arithmetic", "augmented", found.start(1), (source.edit(*found.span(1), new),)


def extreme(source: Source) -> Found:
    """`min` becomes `max`."""
    for found in EXTREME.finditer(source.code):
        new = "max" if found[1] == "min" else "min"
        yield "boundary", "extreme", found.start(1), (source.edit(*found.span(1), new),)


def constant(source: Source) -> Found:
    """One more, one less, the other flag."""
    for found in NUMBER.finditer(source.code):
        if _in_code(source, found.start()) and not _is_size(source, found.start()):
            for variant, sign in (("plus", "+"), ("minus", "-")):
                if variant == "plus" or int(found[1], 0):
                    edit = source.edit(*found.span(1), f"({found[1]} {sign} 1)")
                    yield "constant", variant, found.start(), (edit,)
    for found in FLAG.finditer(source.code):
        if _in_code(source, found.start()):
            new = "false" if found[1] == "true" else "true"
            yield "constant", "flag", found.start(), (source.edit(*found.span(), new),)


def narrower(source: Source) -> Found:
    """int64_t becomes int32_t."""
    for found in WIDE.finditer(source.code):
        yield "dtype", "narrowed", found.start(), (source.edit(*found.span(), NARROWER[found[1]]),)


def sibling(source: Source) -> Found:
    """Rows for columns, x for y: another name of the same family, which is known there too."""
    for found in WORD.finditer(source.code):
        other = SIBLING.get(found[0])
        if other is None or not _in_code(source, found.start()):
            continue
        piece = source.piece_at(found.start())
        if piece.declares == found[0] and found.start() < _after_equals(piece):
            continue
        is_member = source.code[found.start() - 1] in ".>"
        known = source.members if is_member else source.names_in(piece.scope)
        if other in (AXES if is_member else ()) or (
            other in known and (is_member or other not in PARTS)
        ):
            yield "index", "sibling", found.start(), (source.edit(*found.span(), other),)


def subscript(source: Source) -> Found:
    """The element after the one that is meant."""
    for found in SUBSCRIPT.finditer(source.code):
        end = source.close(found.start())
        if end < found.end() or not _in_code(source, found.start()):
            continue
        if _is_size(source, found.start()):
            continue
        inner = source.whole[found.end() : end]
        edit = source.edit(found.end(), end, f"({inner}) + 1")
        yield "index", "subscript", found.start(), (edit,)


def swapped(source: Source) -> Found:
    """Two neighbouring arguments swap."""
    for found in SWAPPABLE.finditer(source.code):
        if found[2] != found[3] and _in_code(source, found.start(2)):
            edits = source.edit(*found.span(2), found[3]), source.edit(*found.span(3), found[2])
            yield "index", "swapped", found.start(2), edits


def guard(source: Source) -> Found:
    """What keeps a thread from a place that is not there is gone; another condition is negated."""
    for found in GUARD.finditer(source.code):
        opened, end = found.end() - 1, source.close(found.end() - 1)
        inner = source.whole[opened + 1 : end]
        if "constexpr" in inner or not _in_code(source, found.start()):
            continue
        after = source.code[end + 1 :]
        if LEAVES.match(after) or THROWS.match(after):
            operator = "exception" if THROWS.match(after) else "mask"
            yield operator, "dropped", found.start(), (source.edit(opened + 1, end, "false"),)
        else:
            operator = "mask" if RELATIVE.search(inner) else "condition"
            yield operator, "unguarded", found.start(), (source.edit(opened + 1, end, "true"),)
            negated = source.edit(opened + 1, end, f"!({inner})")
            yield "condition", "negated", found.start(), (negated,)
        yield from _parts(source, opened + 1, end)


def _parts(source: Source, start: int, end: int) -> Found:
    """One side of `||` or `&&` is missing."""
    for word, neutral in (("||", "false"), ("&&", "true")):
        parts = source.code[start:end].split(f" {word} ")
        other = "&&" if word == "||" else "||"
        if len(parts) < 2 or f" {other} " in source.code[start:end]:
            continue
        place = start
        for part in parts:
            if part.count("(") == part.count(")"):
                edit = source.edit(place, place + len(part), neutral)
                yield "mask", "weakened", place, (edit,)
            place += len(part) + len(word) + 2


def chosen(source: Source) -> Found:
    """`c ? a : b` takes one side everywhere."""
    for found in TERNARY.finditer(source.code):
        start, end = found.span(1)
        span = (start + len("return ") * found[1].startswith("return "), end)
        if span[0] < span[1] and _in_code(source, span[0]):
            for variant, value in (("always", "true"), ("never", "false")):
                yield "mask", f"chosen-{variant}", span[0], (source.edit(*span, value),)


def barrier(source: Source) -> Found:
    """A barrier is gone, stands before the step that it should follow, or not all reach it."""
    pieces = source.pieces
    for found in BARRIER.finditer(source.code):
        at = pieces.index(source.piece_at(found.start()))
        here = source.edit(*found.span(), "")
        yield "barrier", "deleted", found.start(), (here,)
        reached = source.edit(*found.span(), f"if (threadIdx.x % 32 < 16) {found[0]}")
        yield "barrier", "divergent", found.start(), (reached,)
        waits = source.edit(*found.span(), f"if (threadIdx.x < 32) {found[0]}")
        yield "barrier", "one-warp", found.start(), (waits,)
        before = next(p for p in reversed(pieces[:at]) if p.ending == ";" and p.text.strip())
        begin = before.start + len(before.text) - len(before.text.lstrip())
        yield "barrier", "earlier", found.start(), (source.edit(begin, begin, found[0]), here)


def statement(source: Source) -> Found:
    """A step is left out."""
    for piece in source.pieces:
        text = piece.text.strip()
        if not piece.is_step or text == ";" or BARRIER.match(text) or NO_STEP.match(text):
            continue
        begin = piece.start + len(piece.text) - len(piece.text.lstrip())
        step = source.code[begin : piece.end]
        operator = "exception" if CHECKER.match(step) or CHECK.match(step) else "statement"
        yield operator, "deleted", begin, (source.edit(begin, piece.end, ";"),)


def order(source: Source) -> Found:
    """Two neighbouring steps that touch the same thing swap."""
    for first, second in itertools.pairwise(source.pieces):
        if not (_simple(first) and _simple(second)) or first.depth != second.depth:
            continue
        if first.declares in second.names - {""} or not _touches(first, second):
            continue
        spans = [(p.start + len(p.text) - len(p.text.lstrip()), p.end) for p in (first, second)]
        texts = [source.whole[slice(*span)] for span in spans]
        edits = (source.edit(*spans[0], texts[1]), source.edit(*spans[1], texts[0]))
        yield "order", "swapped", spans[0][0], edits


def _simple(piece: Piece) -> bool:
    keyword = re.match(r"\s*(if|for|while|else|return|using|throw|template|CHECK)\b", piece.text)
    in_function = bool(piece.scope.rpartition(".")[2])
    return piece.ending == ";" and in_function and not keyword and bool(piece.text.strip())


def _touches(first: Piece, second: Piece) -> bool:
    """What one of the two changes, the other names; checks change nothing."""
    if CHECK.search(first.text + second.text) or CHECKER.match(first.text):
        return False
    for piece, other in ((first, second), (second, first)):
        target = TARGET.match(piece.text)
        if target and re.search(rf"\b{re.escape(target[1])}\b", other.text):
            return True
        if not target and not piece.declares and piece.names & other.names:
            return True  # a call may change whatever it is given
    return False


def checked(source: Source) -> Found:
    """What must be refused is taken."""
    for found in CHECK.finditer(source.code):
        end = found.end()
        depth = 0
        while source.code[end] != "," or depth:
            depth += (source.code[end] in "([{") - (source.code[end] in ")]}")
            end += 1
        yield "exception", "dropped", found.start(), (source.edit(found.end(), end, "true"),)
        yield from _parts(source, found.end(), end)


def _is_size(source: Source, place: int) -> bool:
    """Whether this is what an array is declared with: a larger one is no fault."""
    piece = source.piece_at(place)
    return bool(piece.declares) and place < _after_equals(piece) and "[" in piece.text


def _after_equals(piece: Piece) -> int:
    """Where what a declaration is set to begins; its end where it is set to nothing."""
    place = piece.text.find(" = ")
    return piece.end if place < 0 else piece.start + place


def _in_code(source: Source, place: int) -> bool:
    """Inside a function or the value of a constant; template heads and parameters are none."""
    piece = source.piece_at(place)
    if piece.ending == "{" and not piece.scope.rpartition(".")[2]:
        return False  # the head of a function or of a type
    line = source.code[source.code.rfind("\n", 0, place) + 1 :]
    is_text = line.lstrip().startswith(("static_assert", "template"))
    return not is_text and (bool(piece.scope.rpartition(".")[2]) or " = " in piece.text)


RULES = (
    binary, augmented, extreme, constant, narrower, sibling, subscript, swapped, guard, chosen,
    barrier, statement, order, checked,
)  # fmt: skip
