"""How one kernel forms the sums over K: in which blocks and parts, and how wide each sum is."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from gptq_fuzz.fingerprint.probe import Probe, Undetermined
from gptq_fuzz.fingerprint.sum_order import (
    VARIES,
    NoTree,
    between,
    block_lengths,
    dealt_blocks,
    is_at_once,
    is_partition,
    is_sequential,
    meeting_sizes,
    numbered,
)

DENSE = 64  # addends that are looked at one by one, from the first on
COARSE = 60  # addends that are spread over all of K
UNITS = 30  # blocks whose first and last addend are looked at
LANES = 8  # dealt blocks shorter than this belong to one vector or warp, not to split-K
FEW = 8  # units among which three are chosen
TRIES = 40  # sums of three whose order is open: the small one is often added in between
DEALT_LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Level:
    """One way in which K is cut: consecutive blocks, or blocks dealt out to `parts` in turn."""

    length: int
    parts: int = 0

    def unit(self, k: int) -> int:
        block = k // self.length
        return block % self.parts if self.parts else block

    def firsts(self, levels: list[Level], k: int) -> list[int]:
        """The first addend of a few units that lie in one unit of every coarser level."""
        count = {level: len({level.unit(place) for place in range(k)}) for level in levels}
        coarser = [level for level in levels if count[level] < count[self]]
        found: dict[int, int] = {}
        for place in range(k):
            if all(level.unit(place) == level.unit(0) for level in coarser):
                found.setdefault(self.unit(place), place)
        return list(found.values())[:FEW]


@dataclass
class Summation:
    """What was seen at one K: the levels that hold, and digits of the sums within and between."""

    k: int
    group_size: int = 0
    varies: bool = False  # from call to call
    is_wide: bool = False  # nothing was lost beside a mask: too wide to look into
    levels: list[Level] = field(default_factory=list)
    is_plain: bool = False  # one after another, or all at once: no blocks
    is_plain_afar: bool = False  # the same of the addends that are spread over K
    inner: int | None = None  # digits of the accumulator
    partial: int | None = None  # of the narrowest partial sum when it is joined
    outer: int | None = None  # of the narrowest sum of partial sums

    @property
    def lengths(self) -> set[int]:
        return {level.length for level in self.levels if not level.parts}

    @property
    def dealt(self) -> Level | None:
        return next((level for level in self.levels if level.parts), None)


def observe(probe: Probe, calls: int, levels: list[Level] | None = None) -> Summation:
    """Look at the sums of `probe`'s case; pairs are measured `calls` times.

    `levels` are those of another shape: they are tried, and what is coarse enough to be seen
    from addends all over K. Without it short blocks and widths are looked at too.
    """
    look = _Look(probe, calls)
    seen = Summation(probe.case.k, probe.case.rows_per_group)
    step = -(-seen.k // COARSE)
    leaves = [tuple(range(0, seen.k, step))]
    if levels is None:
        leaves = [tuple(range(min(DENSE, seen.k))), *leaves]
    try:
        views = {some: look.sizes(some) for some in leaves}
    except NoTree:
        seen.varies, seen.inner = look.varied, look.narrowest() if levels is None else None
        return seen
    first = next(iter(views.values()))
    seen.is_wide = is_at_once(first) and int(first[0, 1]) == 2
    if seen.is_wide:
        return seen
    plain = [is_sequential(sizes) or is_at_once(sizes) for sizes in views.values()]
    seen.is_plain, seen.is_plain_afar = all(plain), plain[-1]
    seen.levels = look.levels(views, levels or [])
    seen.varies = look.varied and not seen.levels
    if levels is None:
        chosen = between(first, list(range(FEW))) or between(first, list(range(0, DENSE, FEW)))
        seen.inner = probe.digits(*chosen) if chosen else None
        for level in seen.levels:
            look.widths(level, seen)
    return seen


class _Look:
    def __init__(self, probe: Probe, calls: int):
        self.probe, self.calls, self.varied = probe, calls, False

    def sizes(self, leaves: list[int]):
        def measure(pairs):
            places = [(leaves[i], leaves[j]) for i, j in pairs]
            counts = [self.probe.survivors(places, leaves) for _ in range(self.calls)]
            sizes = [[len(leaves) - count for count in each] for each in zip(*counts, strict=True)]
            varied = [min(each) for each in sizes if len(set(each)) > 1]
            lowest[0] = min([lowest[0], *varied])
            self.varied |= bool(varied)
            # What meets in the unsettled part of the order meets there each time, by chance alike.
            return [VARIES if min(each) >= lowest[0] else each[0] for each in sizes]

        lowest = [len(leaves) + 1]  # size of the smallest sum whose order is not settled
        return meeting_sizes(len(leaves), measure)

    def levels(self, views: dict[tuple[int, ...], torch.Tensor], given: list[Level]) -> list[Level]:
        """Those that hold, of the given ones and all that some view of the sums allows."""
        candidates, dealt = [[level] for level in given], []
        for leaves, sizes in views.items():
            if is_at_once(sizes):
                continue
            for alike in block_lengths(sizes, leaves):
                plainest_first = sorted(alike, key=lambda size: -(size & -size))
                candidates.append([Level(length) for length in plainest_first])
            dealt = dealt or dealt_blocks(sizes, leaves, DEALT_LENGTHS)
        candidates += [[Level(*dealt)]] if dealt else []
        found = [next(filter(self._holds, alike), None) for alike in candidates]
        held = list(dict.fromkeys(level for level in found if level))
        return [level for level in held if not self._is_rest(level, held)]

    def _is_rest(self, level: Level, held: list[Level]) -> bool:
        """Whether it cuts off no more than the last unit of a finer level, as each chain can be."""
        rest = self.probe.case.k - level.length
        return not level.parts and any(
            not finer.parts and rest <= finer.length < level.length for finer in held
        )

    def _holds(self, level: Level) -> bool:
        """Whether the first and last addends of each unit are where the level says."""
        k = self.probe.case.k
        starts = range(0, k, level.length)[:UNITS]
        ends = [min(start + level.length, k) - 1 for start in starts]
        leaves = sorted({*starts, *ends})
        try:
            sizes = self.sizes(leaves)
        except (NoTree, Undetermined):
            return False
        return is_partition(sizes, list(numbered(level.unit(leaf) for leaf in leaves)))

    def narrowest(self) -> int | None:
        """Digits of the accumulator, from many sums in whatever order they are formed."""
        triples = [(place, place + 1, place + 2) for place in range(0, 3 * TRIES, 3)]
        return self.probe.narrowest([places for places in triples if places[2] < self.probe.case.k])

    def widths(self, level: Level, seen: Summation) -> None:
        """Digits of a unit's sum when it is joined, and of the sum that it is joined to."""
        home = [k for k in range(seen.k) if level.unit(k) == level.unit(0)][:2]
        away = next(k for k in range(seen.k) if level.unit(k) != level.unit(0))
        seen.partial = _narrower(seen.partial, self.probe.digits(*home, away))
        firsts = level.firsts(seen.levels, seen.k)
        digits = self._over(firsts)
        if digits is None and self.varied and len(firsts) > 2:
            digits = self.probe.narrowest([tuple(firsts[:3])] * TRIES)
        if digits is None:  # a unit of the next level has two of these; a wide sum says so anyhow
            digits = self._over(level.firsts([], seen.k))
            digits = digits if digits == seen.inner == seen.partial else None
        seen.outer = _narrower(seen.outer, digits)

    def _over(self, places: list[int]) -> int | None:
        """Digits of the sum that these addends of several units are added to."""
        if len(places) < 3:
            return None
        top = between(self.sizes(places), list(range(len(places))))
        return self.probe.digits(*(places[place] for place in top)) if top else None


def _narrower(first: int | None, second: int | None) -> int | None:
    return min((digits for digits in (first, second) if digits is not None), default=None)
