"""The order of a sum, seen from outside: which partial sum two addends first meet in.

A huge addend at i, its negative at j, and small ones elsewhere: what is added between the two is
lost. So a result that lacks some addends tells the size of the smallest partial sum that holds both
i and j, and a few hundred such sizes tell all others, because partial sums form a tree: FPRev,
arXiv 2411.00442. A node may have many children: a tensor core adds a block of products at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import permutations

import torch

VARIES = -1  # two calls gave two sizes: the order is not settled
Pair = tuple[int, int]


class NoTree(Exception):
    """The sizes that were measured belong to no order of summation."""


def meeting_sizes(count: int, measure: Callable[[list[Pair]], list[int]]) -> torch.Tensor:
    """[count, count]: leaves of the smallest partial sum that holds both; VARIES where unsettled.

    `measure(pairs)` gives the size for each pair of leaves. Raises NoTree.
    """
    measured: dict[Pair, int] = {}
    while True:
        growth = _Growth(count, measured)
        growth.grow(list(range(count)))
        if not growth.wanted:
            return growth.sizes
        wanted = list(growth.wanted)
        measured.update(zip(wanted, measure(wanted), strict=True))


class _Growth:
    """The tree as far as the measured sizes show it; `wanted` are the pairs to ask for next."""

    def __init__(self, count: int, measured: dict[Pair, int]):
        self.measured = measured
        self.wanted: dict[Pair, None] = {}
        self.sizes = torch.ones(count, count, dtype=torch.int64)

    def grow(self, items: list[int]) -> list[int]:
        """The leaves of one subtree, from its first leaf up; sizes between them are filled in."""
        grown, rest = [items[0]], items[1:]
        met = self._look(items[0], rest)
        for size in sorted(set(met), key=lambda size: (size == VARIES, size)):
            joined = [item for item, theirs in zip(rest, met, strict=True) if theirs == size]
            grown = self._join([grown, *self._parts(joined, size)], size)
        return grown

    def _parts(self, items: list[int], size: int) -> list[list[int]]:
        """The other children of a node of `size` leaves: what meets earlier belongs together."""
        parts = []
        while items:
            met = self._look(items[0], items[1:])
            if len(met) < len(items) - 1:
                return []
            near = [
                item
                for item, theirs in zip(items[1:], met, strict=True)
                if theirs != VARIES and (size == VARIES or theirs < size)
            ]
            parts.append(self.grow([items[0], *near]))
            items = [item for item in items[1:] if item not in near]
        return parts

    def _look(self, first: int, others: list[int]) -> list[int]:
        """The sizes between `first` and each other, or none of them while some are unknown."""
        missing = [(first, other) for other in others if (first, other) not in self.measured]
        self.wanted |= dict.fromkeys(missing)
        return [] if missing else [self.measured[first, other] for other in others]

    def _join(self, parts: list[list[int]], size: int) -> list[int]:
        whole = [item for part in parts for item in part]
        if not self.wanted and size not in (VARIES, len(whole)):
            raise NoTree(f"{len(whole)} addends make a partial sum of {size}")
        for part in parts:
            inside = set(part)
            others = [item for item in whole if item not in inside]
            for item in part:
                self.sizes[item, others] = size
        return whole


def is_sequential(sizes: torch.Tensor) -> bool:
    """One after another, from either end."""
    place = torch.arange(len(sizes))
    later = torch.maximum(place[:, None], place) + 1
    off = ~torch.eye(len(sizes), dtype=torch.bool)
    return torch.equal(sizes[off], later[off]) or torch.equal(sizes[off], later.flip(0, 1)[off])


def is_at_once(sizes: torch.Tensor) -> bool:
    """All in one step, or so that nothing tells one addend from another."""
    off = ~torch.eye(len(sizes), dtype=torch.bool)
    return bool((sizes[off] == sizes[0, 1]).all())


def is_partition(sizes: torch.Tensor, labels: list[int]) -> bool:
    """Whether leaves of one label are summed as a unit, and neighbouring units apart.

    As a unit: where two leaves of different labels meet depends on the labels alone. Apart: of two
    neighbours, one is complete before they meet; else a step of many addends would be cut at will.
    """
    count = max(labels) + 1
    if not 1 < count < len(labels):
        return False
    low, high = _extremes(sizes, torch.tensor(labels), count)
    off = ~torch.eye(count, dtype=torch.bool)
    if not torch.equal(low[off], high[off]):
        return False
    inner = high.diagonal()
    return bool((torch.minimum(inner[:-1], inner[1:]) < high.diagonal(1)).all())


def _extremes(sizes: torch.Tensor, labels: torch.Tensor, count: int):
    """[count, count] each: the smallest and the largest size between leaves of two labels."""
    settled = torch.where(sizes == VARIES, len(sizes) + 1, sizes).flatten()
    key = (labels[:, None] * count + labels).flatten()
    # A leaf and itself: 1, which stands only where a label has a single leaf.
    found = [
        torch.zeros(count * count, dtype=torch.int64).scatter_reduce(
            0, key, settled, how, include_self=False
        )
        for how in ("amin", "amax")
    ]
    return found[0].view(count, count), found[1].view(count, count)


def block_lengths(sizes: torch.Tensor, leaves: Sequence[int]) -> list[list[int]]:
    """Lengths of consecutive blocks that may be summed as units, the shortest first.

    Lengths that these leaves do not tell apart come as one list.
    """
    length = leaves[-1] + leaves[1] - leaves[0]
    alike: dict[tuple[int, ...], list[int]] = {}
    for size in range(2, length * 3 // 4):
        alike.setdefault(numbered(leaf // size for leaf in leaves), []).append(size)
    return [found for labels, found in alike.items() if is_partition(sizes, list(labels))]


def dealt_blocks(sizes: torch.Tensor, leaves: Sequence[int], lengths: Iterable[int]) -> Pair | None:
    """(length, parts) where blocks may be dealt out to partial sums in turn, as cards are."""
    for size in lengths:
        for parts in range(len(leaves) // 2, 1, -1):
            labels = numbered(leaf // size % parts for leaf in leaves)
            if leaves[-1] // size >= parts and is_partition(sizes, list(labels)):
                return size, parts
    return None


def numbered(labels: Iterable[int]) -> tuple[int, ...]:
    """The same labels as 0, 1, ... in the order of their first use."""
    order: dict[int, int] = {}
    return tuple(order.setdefault(label, len(order)) for label in labels)


def between(sizes: torch.Tensor, places: list[int]) -> tuple[int, int, int] | None:
    """(i, j, l) of `places`: j is added on the way from i to l, in the smallest partial sum."""
    found = [chosen for chosen in permutations(places, 3) if _is_between(sizes, *chosen)]
    return min(found, key=lambda chosen: int(sizes[chosen[0], chosen[2]]), default=None)


def _is_between(sizes: torch.Tensor, i: int, j: int, end: int) -> bool:
    met = [int(sizes[a, b]) for a, b in ((i, j), (j, end), (i, end))]
    return VARIES not in met and met[0] <= met[2] and met[1] <= met[2]
