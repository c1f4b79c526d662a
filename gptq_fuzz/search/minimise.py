"""Simpler neighbours of a failing case, for what Hypothesis' shrinker cannot do.

It shrinks neither a line of the corpus nor two axes against each other: fewer bits make whole words
longer, so bits and k must change in opposite directions to keep a problem failing.
"""

from __future__ import annotations

from collections.abc import Iterator

from gptq_fuzz.case.axes import AXES, BITS, DTYPES, FILLS, SCALES_DTYPES, WHOLE_GROUP
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case

FEW = (1, 2, 3, 4)  # sizes, in units, that are tried at once
GROUP_SIZES = (WHOLE_GROUP, 1, 2, 3)
SIMPLEST = {"extra": ()} | {
    axis.field: () if axis.several else axis.values[0]
    for axis in reversed(AXES)
    if axis.field not in ("bits", "fill")  # of which more is tried than the simplest
}


def simpler(case: Case, limits: Limits) -> Iterator[Case]:
    """Legal cases that are simpler in one respect: sizes first, then axes, then fill."""
    for changes in _steps(case, limits):
        try:
            candidate = case.replace(**changes)
        except ValueError:
            continue
        inside = not limits.violations(candidate)
        if candidate != case and (inside or limits.violations(case) or case.bad):
            yield candidate


def _steps(case: Case, limits: Limits) -> Iterator[dict]:
    units = {"m": 1, "n": case.unit, "k": case.unit}
    for name, unit in units.items():
        for size in _smaller(getattr(case, name) // unit):
            yield {name: size * unit}
    yield from ({"bits": bits} for bits in BITS[: BITS.index(case.bits)])
    if case.state:
        yield {"state": "", "condition": case.state}
    for field, value in SIMPLEST.items():
        if getattr(case, field) != value and not (field == "extra" and _is_forced(limits)):
            yield {field: value}
    if limits.scales_as_x and case.dtype != DTYPES[0]:
        yield {"dtype": DTYPES[0], "scales_dtype": SCALES_DTYPES[0]}
    yield from ({"fill": fill} for fill in FILLS[: FILLS.index(case.fill)])
    sizes = GROUP_SIZES[: _place(case.group_size)]
    yield from ({"group_size": size} for size in sizes)
    if case.seed:
        yield {"seed": 0}


def _smaller(size: int) -> list[int]:
    """A few sizes below, from the smallest up: each step that succeeds is followed by another.

    Powers of two are among them: what needs whole vectors or pages fails at no other size between.
    """
    powers = {1 << place for place in range(size.bit_length())}
    candidates = {*FEW, *powers, size // 2, size * 3 // 4, size - 1}
    return sorted(candidate for candidate in candidates if 1 <= candidate < size)


def _place(size: int) -> int:
    return GROUP_SIZES.index(size) if size in GROUP_SIZES else len(GROUP_SIZES)


def _is_forced(limits: Limits) -> bool:
    return any(not token.optional for token in limits.tokens)
