"""Where the wrong elements of a result lie: rows, columns, groups, in words an engineer uses."""

from __future__ import annotations

from collections.abc import Collection

import torch

from gptq_fuzz.case.case import Case
from gptq_fuzz.problem.fills import Values

PERIODS = (2, 4, 8, 16, 32, 64, 128)
TILES = (16, 32, 64, 128)  # sides of blocks that kernels have
TAILED = tuple(side for side in PERIODS if side >= 8)  # every odd size has a tail of 2
SHOWN = 4  # places listed before "and n more"


def locate(wrong: torch.Tensor, values: Values, case: Case) -> str:
    """[M, J] mask -> `row 16 only (tail of m % 16); all columns; groups 0, 2`."""
    found = rows_and_columns(wrong, case.unit, "k" if case.backward else "column")
    groups = _groups(wrong, values, case)
    return f"{found}; {places('group', groups, case.groups)}" if groups else found


def rows_and_columns(wrong: torch.Tensor, word: int, noun: str = "column") -> str:
    """[M, J] mask -> `row 16 only (tail of m % 16); all columns`; `word`: codes in a word."""
    rows, columns = (wrong.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
    m, n = wrong.shape
    return f"{places('row', rows, m)}; {places(noun, columns, n, word)}"


def places(
    noun: str,
    found: list[int],
    size: int,
    word: int = 0,
    group: int = 0,
    asked: Collection[int] | None = None,
) -> str:
    """The places of `size` that were found, by the plainest rule that gives these and no others.

    `word`: codes in a word; `group`: rows in a group, where they lie in order; `asked`: the places
    that could be found, where these are not all.
    """
    many = noun if noun == "k" else f"{noun}s"
    if asked is not None and len(asked) < size:
        return _among(noun, found, size, group, asked)
    if len(found) == size:
        return f"all {many}" if size > 1 else f"the only {noun}"
    rule = _tail(noun, found, size, group) or _fields(noun, found, size, word)
    rule = rule or _period(noun, found, size) or _edges(noun, found, size, group)
    rule = rule or _tile(noun, found, size)
    if rule:
        return rule
    return _listed(noun, found, size)


def _listed(noun: str, found: list[int], size: int) -> str:
    many = noun if noun == "k" else f"{noun}s"
    shown = ", ".join(map(str, found[:SHOWN]))
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"{many if len(found) > 1 else noun} {shown}{more} of {size}"


def _among(noun: str, found: list[int], size: int, group: int, asked: Collection[int]) -> str:
    """The same of a sample: what is said holds for the places that were asked for."""
    note = f" ({len(asked)} were asked for)"
    if len(found) == len(asked):
        return (
            f"each that was asked for, {len(asked)} of {size} {noun if noun == 'k' else noun + 's'}"
        )
    for words, wanted in _borders(size, group).items() if 1 < group < size else ():
        if found == [place for place in wanted if place in asked]:
            return f"{noun}: {words} of {group}{note}"
    inside = [place for place in sorted(asked) if found[0] <= place <= found[-1]]
    if len(found) > 1 and found == inside:
        return f"{noun if noun == 'k' else noun + 's'} {found[0]} to {found[-1]} of {size}{note}"
    return _listed(noun, found, size) + note


def _tail(noun: str, found: list[int], size: int, group: int) -> str:
    first = found[0]
    if found != list(range(first, size)):
        return ""
    many = noun if noun == "k" else f"{noun}s"
    name = f"{noun} {first}" if len(found) == 1 else f"{many} {first} to {size - 1}"
    notes = []
    if group and first and first % group == 0:
        is_last = size - first <= group
        notes.append("the last group" if is_last else f"from group {first // group} on")
    tails = [side for side in TAILED if size - first == size % side]
    notes += [f"tail of {size} % {tails[-1]}"] if tails else []
    blocks = [side for side in TILES if (first % side, size - first) == (0, side)]
    notes = notes or [f"the last block of {side}" for side in blocks[-1:]]
    return f"{name} only" + (f" ({'; '.join(notes)})" if notes else "")


def _fields(noun: str, found: list[int], size: int, word: int) -> str:
    """`fields 3, 7 of each word of columns`, where there are several words."""
    if not word or size < 2 * word:
        return ""
    fields = sorted({place % word for place in found})
    if len(fields) > word // 2 or found != [p for p in range(size) if p % word in fields]:
        return ""
    listed = ", ".join(map(str, fields))
    return f"every {noun} in field{'s' if len(fields) > 1 else ''} {listed} of {word} of a word"


def _period(noun: str, found: list[int], size: int) -> str:
    for period in reversed(PERIODS):
        if len(found) > 1 and found == list(range(found[0] % period, size, period)):
            return f"one {noun} in {period}, from {found[0]}"
    return ""


def _edges(noun: str, found: list[int], size: int, group: int) -> str:
    """The first or the last row of each group."""
    if not 1 < group < size:
        return ""
    named = _borders(size, group)
    rule = next((words for words, wanted in named.items() if found == wanted), "")
    return f"{noun}: {rule} of {group}" if rule else ""


def _borders(size: int, group: int) -> dict[str, list[int]]:
    firsts = list(range(0, size, group))
    lasts = [min(first + group, size) - 1 for first in firsts]
    return {
        "the first of each group": firsts,
        "the first of each group but the first": firsts[1:],
        "the last of each group": lasts,
        "the last of each group but the last": lasts[:-1],
    }


def _tile(noun: str, found: list[int], size: int) -> str:
    """`columns 32 to 63 (block 1 of 32)`"""
    first, last = found[0], found[-1]
    if len(found) < 2 or found != list(range(first, last + 1)):
        return ""
    many = noun if noun == "k" else f"{noun}s"
    name = f"{many} {first} to {last} of {size}"
    side = next((side for side in reversed(TILES) if (first % side, len(found)) == (0, side)), 0)
    return name + (f" (block {first // side} of {side})" if side else "")


def _groups(wrong: torch.Tensor, values: Values, case: Case) -> list[int]:
    """The groups behind wrong elements; known only where each row of x has few non-zeros."""
    if case.backward or case.fill not in ("onehot", "lanes", "sparse"):
        return []
    touched = (values.left != 0)[wrong.any(1)].any(0)
    return values.g_idx[touched].unique().tolist()
