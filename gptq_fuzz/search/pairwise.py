"""Few cases that hold every pair of axis values, and every triple where dispatchers branch.

Built greedily, the same ones each time: a case is built for chosen values of the axes of
`coverage.classes`; sizes and groups depend on each other, so the combinations that some Case has
are listed first.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import combinations, product

from gptq_fuzz.case.axes import (
    AXES,
    BY_FIELD,
    CLASHES,
    DTYPES,
    SCALES_DTYPES,
    UNDER,
    UNDRAWN,
    WHOLE_GROUP,
    codes_in_words,
)
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.coverage import DISPATCH, axis_values, classes
from gptq_fuzz.search.own_time import own_time

Value = tuple[str, str]  # an axis and its value
Together = frozenset  # of Values of different axes: a pair, a triple
ROWS = {
    "0": (0,),
    "1": (1,),
    "..15": (2, 3, 5, 8, 9, 15),
    "..63": (16, 17, 31, 33, 50, 51, 63),
    "..255": (64, 65, 96, 129, 200),
    "256..": (256, 257, 300),
}
COLUMNS = (5, 16, 17, 24, 32, 33, 40, 48, 60, 64, 68, 72, 96, 128, 132, 160, 200, 264, 512, 520)
REDUCTIONS = (*COLUMNS, 256, 1040, 2056)
GROUPS = (WHOLE_GROUP, 1, 2, 3, 4, 5, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256, 1024)
LONGEST = 1024  # of the reductions that whole groups make up
AMOUNTS = (1, 3, 8, 4, 5, 16, 12, 13, 2)
ABSENT = ""  # of an optional token: the kernel chooses
TRIES = 4  # rows that are built for what is wanted next; the best is kept
# What judging a case takes, as if its weights were so many more: 30 to 60 ms on a CPU for the
# smallest, twice that for 60,000 weights.
FEWEST_WEIGHTS = 60_000
LENGTHS = {"one word": 16, "..63": 48, "..511": 200, "512..": 512}  # of n and k, roughly
LARGE = (  # classes of sizes that are too much for a condition
    *(("n", "512.."), ("k", "512..")),
    *(("m", rows) for rows in ("..255", "256..")),
)
NEVER = (  # values that no Case has together, sizes apart
    *(
        {(BY_FIELD[clash.one].name, one), (BY_FIELD[clash.other].name, other)}
        for clash in (*CLASHES, *UNDRAWN)
        for one in map(BY_FIELD[clash.one].word, clash.ones)
        for other in map(BY_FIELD[clash.other].word, clash.others)
    ),
    *({value, ("condition", "calls500")} for value in LARGE),
)
SIZE_AXES = ("m", "n", "k", "bits", "group", "last group")


@functools.lru_cache(maxsize=64)
def all_together(limits: Limits, strength: int) -> frozenset[Together]:
    """Every pair (of all axes), triple, ... (of DISPATCH) that some Case within `limits` has."""
    with own_time("listing what can be covered", limits):
        grid = grid_of(limits)
        axes = grid.axes if strength == 2 else DISPATCH
        numbers = [[n for n in grid.of_axis[a] if grid.values[n][1] != ABSENT] for a in axes]
        return frozenset(
            Together(grid.values[number] for number in chosen)
            for some in combinations(numbers, strength)
            for chosen in product(*some)
            if _Row(grid).takes(chosen)
        )


def possible_values(limits: Limits) -> dict[str, tuple[str, ...]]:
    """Axis -> the values that some Case within `limits` has."""
    axes = grid_of(limits).axes
    return {axis: tuple(v for v in values if v != ABSENT) for axis, values in axes.items()}


def covering_cases(limits: Limits, strength: int = 2) -> list[Case]:
    """Cases that hold every pair of values that some Case within `limits` has.

    With a strength of 3 or 4 also every triple, every four of the axes in DISPATCH, each in a case
    where every weight counts and nothing is rounded, as far as there is such a fill.
    """
    with own_time(f"listing cases for every {strength} values", limits):
        pairs = [*all_together(limits, 2), *grid_of(limits).absent_pairs()]
        cases = list(_covering(limits, pairs, None, 0))
        if strength > 2:
            plain = replace(limits, fills=_dense(limits), conditions=())
            cases += _covering(plain, all_together(limits, strength), None, len(cases))
    return cases


def _dense(limits: Limits) -> tuple[str, ...]:
    return ("exact",) if "exact" in limits.fills else limits.fills


def cases_for(
    limits: Limits, wanted: Collection[Together], most: int | None, seed: int
) -> list[Case]:
    """At most so many cases that hold as many of these pairs, triples, ... as they can."""
    with own_time("building cases for what was not judged yet", limits):
        return list(_covering(limits, wanted, most, seed))


def _covering(
    limits: Limits, wanted: Collection[Together], most: int | None, seed: int
) -> Iterator[Case]:
    grid = grid_of(limits)
    left = _Left(grid, wanted)
    count = 0
    while left.sets and count != most:
        first = left.most_wanted(count)
        rows = [left.row(first, count + shift) for shift in range(TRIES)]
        best = max(filter(None, rows), key=lambda row: left.gain(row) / row.price(), default=None)
        if best is None:
            left.forget(first)
            continue
        left.cover(best)
        yield case_of(dict(grid.values[number] for number in best.numbers), limits, seed + count)
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
        self.of_axis = {
            axis: [self.number[axis, v] for v in values] for axis, values in self.axes.items()
        }
        self.dispatch = sum(1 << n for axis in DISPATCH for n in self.of_axis[axis])
        # Value -> which of the legal combinations of sizes and groups have it, as bits
        sizes = dict.fromkeys(seen, 0)
        for place, combination in enumerate(combinations_of_sizes):
            for value in combination:
                sizes[value] |= 1 << place
        sizes["rank", "dim1"] = sizes.get(("m", "1"), 0)  # it holds one row
        self.sizes = [sizes.get(value, -1) for value in self.values]
        # Value -> those that it is never together with, as bits
        self.clashes = [0] * len(self.values)
        for never in (*NEVER, *_unlike_dtypes(limits)):
            if never <= self.number.keys():
                one, other = (self.number[value] for value in never)
                self.clashes[one] |= 1 << other
                self.clashes[other] |= 1 << one

    def absent_pairs(self) -> Iterator[Together]:
        """Pairs with a token left out, which classes cannot show."""
        for left in self.values:
            if left[1] == ABSENT:
                yield from (Together((left, right)) for right in self.values if right[0] != left[0])


class _Row:
    """Values that some Case has together, one axis after another."""

    def __init__(self, grid: _Grid):
        self._grid, self._sizes = grid, -1
        self.numbers: list[int] = []
        self.mask = 0

    def may_take(self, number: int) -> bool:
        """Whether some Case has this value beside those that are here."""
        grid = self._grid
        return bool(self._sizes & grid.sizes[number]) and not grid.clashes[number] & self.mask

    def takes(self, numbers: Iterable[int]) -> bool:
        """Take these values; False where no Case has them."""
        for number in numbers:
            if not self.may_take(number):
                return False
            self.numbers.append(number)
            self.mask |= 1 << number
            self._sizes &= self._grid.sizes[number]
        return True

    def price(self) -> int:
        """Roughly how long a Case with these values takes, against others."""
        named = dict(self._grid.values[number] for number in self.numbers)
        return FEWEST_WEIGHTS + LENGTHS[named["n"]] * LENGTHS[named["k"]]


class _Left:
    """What is still wanted. A set of values is kept under each of its parts that lacks one value,
    as the bit of that value: a pair under two parts of one value, a triple under three of two.
    """

    def __init__(self, grid: _Grid, wanted: Iterable[Together]):
        self._grid = grid
        self.sets: dict[int, int] = {}
        self._most = 2  # values in a set
        for together in wanted:
            bits = [1 << grid.number[value] for value in together if value in grid.number]
            if len(bits) == len(together):
                self._most = max(self._most, len(bits))
                for bit in bits:
                    self.sets[sum(bits) - bit] = self.sets.get(sum(bits) - bit, 0) | bit

    def most_wanted(self, turn: int) -> list[int]:
        """The part that most values are wanted with, of the larger ones, and one of those."""
        sets = self.sets
        part = max(sets, key=lambda part: (part.bit_count(), sets[part].bit_count(), -part))
        others = _bits(self.sets[part])
        return [*_bits(part), others[turn % len(others)]]

    def row(self, first: list[int], turn: int) -> _Row | None:
        """A value of each axis, these among them, each so that most sets become whole."""
        grid, row = self._grid, _Row(self._grid)
        if not row.takes(first):
            return None
        taken = {grid.values[number][0] for number in first}
        free = [axis for axis in grid.axes if axis not in taken]
        several = [axis for axis in free if axis in DISPATCH]
        rest = [axis for axis in free if axis not in DISPATCH]
        for axis in _turned(several, turn) + _turned(rest, turn):
            parts = self._parts(row.numbers, self._most - 2 if axis in DISPATCH else 0)
            first = 0 if axis in UNDER else turn  # none, unless one is still wanted
            legal = [n for n in _turned(grid.of_axis[axis], first) if row.may_take(n)]
            if not legal:
                return None
            row.takes([max(legal, key=lambda n: self._gain(n, parts, row.mask))])
        return row

    def _parts(self, numbers: Iterable[int], most: int) -> list[int]:
        """The sets of at most so many of these values that a larger set may be kept under."""
        bits = [1 << n for n in numbers if self._grid.dispatch >> n & 1]
        return [sum(some) for size in range(most + 1) for some in combinations(bits, size)]

    def _gain(self, number: int, parts: list[int], mask: int) -> int:
        bit, sets = 1 << number, self.sets
        return sum((sets.get(part | bit, 0) & mask).bit_count() for part in parts)

    def _kept(self, row: _Row) -> Iterator[int]:
        """The parts of a row under which something is kept."""
        larger = self._parts(row.numbers, self._most - 1)
        singles = [1 << number for number in row.numbers]
        return (part for part in {*singles, *larger} if part in self.sets)

    def gain(self, row: _Row) -> int:
        """How much of what is wanted a row has."""
        return sum((self.sets[part] & row.mask).bit_count() for part in self._kept(row))

    def cover(self, row: _Row) -> None:
        """A Case has these values: what they make whole is wanted no more."""
        for part in list(self._kept(row)):
            self._drop(part, row.mask)

    def forget(self, numbers: list[int]) -> None:
        """No Case has these together."""
        bits = [1 << number for number in numbers]
        for bit in bits:
            self._drop(sum(bits) - bit, bit)

    def _drop(self, part: int, mask: int) -> None:
        self.sets[part] &= ~mask
        if not self.sets[part]:
            del self.sets[part]


def _bits(mask: int) -> list[int]:
    return [place for place in range(mask.bit_length()) if mask >> place & 1]


def _unlike_dtypes(limits: Limits) -> Iterator[set[Value]]:
    """Scales in another dtype than x, for a kernel that takes none such."""
    if limits.scales_as_x:
        for axis in UNDER:
            yield {("scales", "sf32"), (axis, "autocast")}  # which x in float32 has not
        for dtype, scales in product(DTYPES, SCALES_DTYPES):
            if scales != f"s{dtype}":
                yield {("dtype", dtype), ("scales", scales)}


def _legal_sizes(limits: Limits, axes: dict) -> Iterator[tuple[Value, ...]]:
    if set(limits.ranks) == {1}:
        axes = axes | {"m": ("1",)}
    for values in product(*(axes[axis] for axis in SIZE_AXES)):
        named = dict(zip(SIZE_AXES, values, strict=True))
        if next(_sizes(named, limits, 0), None):
            yield tuple(named.items())


def case_of(named: dict[str, str], limits: Limits, seed: int) -> Case:
    """A Case with these values; `seed` picks its data and, of the sizes in a class, its own."""
    m, n, k, _, group_size = next(_sizes(named, limits, seed))
    amount = AMOUNTS[seed % len(AMOUNTS)]
    values = {
        axis.field: axis.with_number(axis.value_of(named[axis.name], limits.of(axis)), amount)
        for axis in AXES
    }
    return Case(
        m=m,
        n=n,
        k=k,
        group_size=group_size,
        **values,
        seed=seed,
        extra=tuple(
            (token.name, value)
            for token in limits.tokens
            if (value := named[f"token {token.name}"]) != ABSENT
        ),
    )


def _sizes(named: dict[str, str], limits: Limits, turn: int) -> Iterator[tuple[int, ...]]:
    """(m, n, k, bits, group size) of the classes named, from the `turn`-th on."""
    bits = BY_FIELD["bits"].value_of(named["bits"], limits.bits)
    word = codes_in_words(bits)
    of_class = _members(limits, bits)
    rows = [m for m in ROWS[named["m"]] if m >= limits.m_least]
    ns, ks, sizes = (of_class.get((axis, named[axis]), ()) for axis in ("n", "k", "group"))
    is_partial = named["last group"] == "partial"
    lengths = [
        (k, size)
        for k, size in product(_turned(ks, turn), _turned(sizes, turn))
        if (size != WHOLE_GROUP and k % size > 0) == is_partial and limits.takes_groups(k, size)
    ]
    if not (rows and ns and lengths and limits.affords(rows[0], ns[0], min(lengths)[0], word)):
        return
    for m, n, (k, size) in product(_turned(rows, turn), _turned(ns, turn), lengths):
        if limits.affords(m, n, k, word):
            yield m, n, k, bits, size


@functools.lru_cache(maxsize=64)
def _members(limits: Limits, bits: int) -> dict[Value, list[int]]:
    """The sizes in each class of n, k and group, the smallest first."""
    _, n_unit, k_unit = limits.units(codes_in_words(bits))
    groups = limits.group_sizes or GROUPS
    found: dict[Value, list[int]] = {}
    of_axis = {"n": _raised(COLUMNS, n_unit), "k": _raised((*REDUCTIONS, *groups), k_unit)}
    for axis, sizes in (of_axis | {"group": groups}).items():
        for size in sizes:
            found.setdefault((axis, _class(axis, size, bits)), []).append(size)
    return found


@functools.cache
def _class(axis: str, size: int, bits: int) -> str:
    """What `coverage.classes` says of one size."""
    word = codes_in_words(bits)
    sizes = {"n": word, "k": word, "group_size": WHOLE_GROUP} | {
        {"group": "group_size"}.get(axis, axis): size
    }
    return classes(Case(m=1, bits=bits, **sizes))[axis]


def _raised(sizes: tuple[int, ...], unit: int) -> list[int]:
    """Whole units, the smallest first; with each size the whole that it divides."""
    above = {-(-size // unit) * unit for size in sizes if size > 0}
    whole = {math.lcm(size, unit) for size in sizes if size > 0}
    return sorted({unit, *above, *(size for size in whole if size <= LONGEST)})


def _turned(items, turn: int) -> list:
    start = turn % len(items) if items else 0
    return [*items[start:], *items[:start]]
