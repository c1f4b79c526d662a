"""Few cases that hold every pair of axis values: built greedily, the same ones each time.

A case is built for chosen values of the axes of `coverage.classes`; sizes and groups depend on each
other, so the combinations that some Case has are listed first.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterable, Iterator
from itertools import combinations, product

from gptq_fuzz.case.axes import STRIDED, WHOLE_GROUP, WORD_BITS
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.coverage import axis_values, classes

Value = tuple[str, str]  # an axis and its value
Pair = frozenset  # of two Values
ROWS = {
    "0": (0,),
    "1": (1,),
    "..15": (2, 3, 5, 8, 9, 15),
    "..63": (16, 17, 31, 33, 50, 51, 63),
    "64..": (64, 65, 96, 129),
}
COLUMNS = (5, 16, 17, 24, 32, 33, 40, 48, 60, 64, 68, 72, 96, 128, 132, 160, 200)
REDUCTIONS = (*COLUMNS, 256, 264, 520, 1040)
GROUPS = (WHOLE_GROUP, 1, 2, 3, 4, 5, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256, 1024)
LONGEST = 1024  # of the reductions that whole groups make up
AMOUNTS = (1, 3, 8, 5, 16, 13, 2)
ABSENT = ""  # of an optional token: the kernel chooses
TRIES = 4  # rows that are built for the next pair; the best is kept
SIZE_AXES = ("m", "n", "k", "bits", "group", "last group")


@functools.lru_cache(maxsize=64)
def all_pairs(limits: Limits) -> frozenset[Pair]:
    """Every pair of values of two axes that some Case within `limits` has."""
    grid = grid_of(limits)
    return frozenset(
        Pair((left, right))
        for left, right in combinations(grid.values, 2)
        if left[0] != right[0]
        and ABSENT not in (left[1], right[1])
        and grid.is_legal([grid.number[left], grid.number[right]])
    )


def possible_values(limits: Limits) -> dict[str, tuple[str, ...]]:
    """Axis -> the values that some Case within `limits` has."""
    axes = grid_of(limits).axes
    return {axis: tuple(v for v in values if v != ABSENT) for axis, values in axes.items()}


def pairwise_cases(limits: Limits) -> list[Case]:
    """Cases that hold every pair of values that some Case within `limits` has."""
    return list(_covering(limits, all_pairs(limits), None, 0))


def cases_for(limits: Limits, pairs: Collection[Pair], most: int, seed: int) -> list[Case]:
    """At most so many cases that hold as many of these pairs as they can."""
    return list(_covering(limits, pairs, most, seed))


def _covering(
    limits: Limits, pairs: Collection[Pair], most: int | None, seed: int
) -> Iterator[Case]:
    grid = grid_of(limits)
    left = grid.partners(pairs if most is not None else [*pairs, *grid.absent_pairs()])
    count = 0
    while any(left) and count != most:
        first = grid.most_wanted(left, count)
        rows = [grid.row(first, left, count + shift) for shift in range(TRIES)]
        rows = [row for row in rows if row is not None]
        if not rows:
            grid.forget(first, left)
            continue
        best = max(rows, key=lambda row: grid.gain(row, left))
        grid.cover(best, left)
        yield case_of(grid.named(best), limits, seed + count)
        count += 1


@functools.lru_cache(maxsize=64)
def grid_of(limits: Limits) -> _Grid:
    """Every value of every axis as a number, and which of them some Case has together."""
    return _Grid(limits)


class _Grid:
    """Sets of values are bits of an int: value number i is bit i."""

    def __init__(self, limits: Limits):
        axes = dict(axis_values(limits))
        optional = {f"token {token.name}" for token in limits.tokens if token.optional}
        combinations_of_sizes = list(_legal_sizes(limits, axes))
        seen = {value for combination in combinations_of_sizes for value in combination}
        for axis in SIZE_AXES:
            axes[axis] = tuple(value for value in axes[axis] if (axis, value) in seen)
        self.axes = {
            axis: (ABSENT, *values) if axis in optional else values for axis, values in axes.items()
        }
        self.values = [(axis, value) for axis, values in self.axes.items() for value in values]
        self.number = {value: place for place, value in enumerate(self.values)}
        self.of_axis = [
            [self.number[axis, v] for v in values] for axis, values in self.axes.items()
        ]
        # Value -> which of the legal combinations of sizes and groups have it, as bits
        self._sizes = {self.number[value]: 0 for value in seen}
        for place, combination in enumerate(combinations_of_sizes):
            for value in combination:
                self._sizes[self.number[value]] |= 1 << place

    def absent_pairs(self) -> Iterator[Pair]:
        """Pairs with a token left out, which classes cannot show."""
        for left in self.values:
            if left[1] == ABSENT:
                yield from (Pair((left, right)) for right in self.values if right[0] != left[0])

    def partners(self, pairs: Iterable[Pair]) -> list[int]:
        """For each value: the values that it is still wanted with."""
        left = [0] * len(self.values)
        for pair in pairs:
            first, second = (self.number.get(value) for value in pair)
            if first is not None and second is not None:
                left[first] |= 1 << second
                left[second] |= 1 << first
        return left

    def most_wanted(self, left: list[int], turn: int) -> tuple[int, int]:
        """The value wanted with most others, and one of those."""
        first = max(range(len(left)), key=lambda number: left[number].bit_count())
        others = _bits(left[first])
        return first, others[turn % len(others)]

    def row(self, pair: tuple[int, int], left: list[int], turn: int) -> tuple[int, ...] | None:
        """A value of each axis, the pair among them, chosen one axis after another."""
        chosen = [*pair]
        if not self.is_legal(chosen):
            return None
        taken = {self.values[number][0] for number in chosen}
        order = [numbers for numbers in self.of_axis if self.values[numbers[0]][0] not in taken]
        start = turn % len(order)
        for numbers in order[start:] + order[:start]:
            mask = sum(1 << number for number in chosen)
            start_at = turn % len(numbers)
            legal = [
                n for n in numbers[start_at:] + numbers[:start_at] if self.is_legal([*chosen, n])
            ]
            chosen.append(max(legal, key=lambda n: (left[n] & mask).bit_count()))
        return tuple(chosen)

    def is_legal(self, chosen: list[int]) -> bool:
        """Whether some Case has these values."""
        sizes = -1
        for number in chosen:
            sizes &= self._sizes.get(number, -1)
        named = dict(self.values[number] for number in chosen)
        is_flat = named.get("rank") == "1"
        backward_bias = (named.get("direction"), named.get("bias")) == ("backward", "bias")
        if is_flat:
            sizes &= self._sizes.get(self.number.get(("m", "1"), -1), 0)
        return sizes != 0 and not backward_bias

    def gain(self, row: tuple[int, ...], left: list[int]) -> int:
        mask = sum(1 << number for number in row)
        return sum((left[number] & mask).bit_count() for number in row)

    def cover(self, row: tuple[int, ...], left: list[int]) -> None:
        mask = sum(1 << number for number in row)
        for number in row:
            left[number] &= ~mask

    def forget(self, pair: tuple[int, int], left: list[int]) -> None:
        """No Case has both."""
        for one, other in (pair, pair[::-1]):
            left[one] &= ~(1 << other)

    def named(self, row: Iterable[int]) -> dict[str, str]:
        return dict(self.values[number] for number in row)


def _bits(mask: int) -> list[int]:
    return [place for place in range(mask.bit_length()) if mask >> place & 1]


def _legal_sizes(limits: Limits, axes: dict) -> Iterator[tuple[Value, ...]]:
    for values in product(*(axes[axis] for axis in SIZE_AXES)):
        named = dict(zip(SIZE_AXES, values, strict=True))
        if next(_sizes(named, limits, 0), None):
            yield tuple(named.items())


def case_of(named: dict[str, str], limits: Limits, seed: int) -> Case:
    """A Case with these values; `seed` picks its data and, of the sizes in a class, its own."""
    m, n, k, bits, group_size = next(_sizes(named, limits, seed))
    layout = "" if named["layout"] == "contiguous" else named["layout"]
    amount = AMOUNTS[seed % len(AMOUNTS)]
    strided = {"none": (), "all": tuple(n for n in STRIDED if n in limits.strided)}
    return Case(
        m=m,
        n=n,
        k=k,
        bits=bits,
        group_size=group_size,
        g_idx=named["g_idx"],
        zeros=named["zeros"],
        checkpoint_format=named["format"],
        dtype=named["dtype"],
        scales_dtype=named["scales"],
        layout=f"{layout}{amount}" if layout in ("pad", "off") else layout,
        rank=int(named["rank"]),
        strided=strided.get(named["strided"], (named["strided"],)),
        bias=named["bias"] == "bias",
        backward=named["direction"] == "backward",
        fill=named["fill"],
        seed=seed,
        extra=tuple(
            (token.name, value)
            for token in limits.tokens
            if (value := named[f"token {token.name}"]) != ABSENT
        ),
    )


def _sizes(named: dict[str, str], limits: Limits, turn: int) -> Iterator[tuple[int, ...]]:
    """(m, n, k, bits, group size) of the classes named, from the `turn`-th on."""
    bits = int(named["bits"])
    sizes = limits.group_sizes or GROUPS
    ns = _raised(COLUMNS, WORD_BITS // bits, limits.n_multiple)
    ks = _raised((*REDUCTIONS, *sizes), WORD_BITS // bits, limits.k_multiple)
    for m, n, k, size in product(
        _turned(ROWS[named["m"]], turn),
        _turned([n for n in ns if _class("n", n, bits) == named["n"]], turn),
        _turned([k for k in ks if _class("k", k, bits) == named["k"]], turn),
        _turned([size for size in sizes if _class("group", size, bits) == named["group"]], turn),
    ):
        is_partial = size != WHOLE_GROUP and k % size > 0
        if is_partial == (named["last group"] == "partial") and (
            limits.tiles(m, n, k) <= limits.max_tiles
        ):
            yield m, n, k, bits, size


@functools.cache
def _class(axis: str, size: int, bits: int) -> str:
    """What `coverage.classes` says of one size."""
    word = WORD_BITS // bits
    sizes = {"n": word, "k": word, "group_size": WHOLE_GROUP} | {
        {"group": "group_size"}.get(axis, axis): size
    }
    return classes(Case(m=1, bits=bits, **sizes))[axis]


@functools.cache
def _raised(sizes: tuple[int, ...], word: int, multiple: int) -> list[int]:
    """Whole words and multiples, the smallest first; with each size the whole that it divides."""
    unit = math.lcm(word, multiple)
    above = {-(-size // unit) * unit for size in sizes if size > 0}
    whole = {math.lcm(size, unit) for size in sizes if size > 0}
    return sorted({unit, *above, *(size for size in whole if size <= LONGEST)})


def _turned(items, turn: int) -> list:
    start = turn % len(items) if items else 0
    return [*items[start:], *items[:start]]
