"""Every size, one dimension at a time: M, N, K and the number of groups, within a kernel's limits.

Drawn cases meet few sizes; a kernel that is wrong for 73 to 80 rows, or for one tail, is met here.
Each dimension is run through twice: the others as small as the kernel allows, then as whole tiles.
`tails`: large sizes that meet, each with a tail. `roundings`: fills that show them, along a long K
of few rows, and where all three sizes are those of a prefill.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterable, Iterator

from gptq_fuzz.case.axes import (
    BY_FIELD,
    KINDS_OF_COLUMNS,
    VARIED,
    WHOLE_GROUP,
    WORD_BITS,
    codes_in_words,
)
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.models import NAMES
from gptq_fuzz.search.series import must_pass_series

# For all dimensions of one kernel, in which a plain one gets through two fifths of the cases
SECONDS, SECONDS_OF_A_SLOW_ONE = 17.0, 12.0
AS_DEAR = 2**16  # elements of x, weights and result that cost as much as asking for a case
DIMENSIONS = ("M", "N", "K", "groups", "tails", "roundings")
EVERY_ROW = 320  # up to here each M
# And one less, one more
ROWS = (50, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65535, 65536, 131072)
PERIOD = 256  # each residue of N and K modulo this, and so of 64 and 128 too
# And a unit less, more
SIZES = (1024, 2048, 4096, 8192, 11008, 14336, 16384, 32768, 65536, 131072, 262144)
EVERY_GROUP = 300  # up to here each number of groups
LARGEST_GROUP = 2**16  # rows; a counter of 16 bits ends before it
GROUP_SIZES = (WHOLE_GROUP, 128, 64, 32)
COUNTS = (2**15, 2**16, 2**17)  # of scales, and of words of zero-points, in as many columns as
MANY_COLUMNS = (1028, 260)
LONG, LONGEST = 2**11, 2**14  # sizes from which on they are judged for fewer bits
TILED_GROUPS = (*range(1, 33), 63, 64, 65, 127, 128, 129, 255, 256, 257, EVERY_GROUP)
AFFORDABLE = 2**20  # elements of x, weights and result where the other dimensions are whole tiles
# Sizes with tails of tiles of 8 to 256, on both sides of where engines change kernels
TAILED_ROWS = (5, 17, 33, 65, 129, 257, 513, 577, 1025)
TAILED = (132, 200, 260, 516, 580, 1028)
ROWS_OF_A_MILLION = (245, 257, 490, 514)  # of 4096 columns, and a few more
# More tiles of 64 x 64 than a GPU has cores (132); of 256 along K two to four, the last a tail
MANY_TILES = ((33, 8708, 260), (65, 4612, 516), (129, 4612, 260), (1, 8708, 516), (1, 8452, 772))
LARGEST_PRODUCT = 2**27  # multiplications of one case of `tails`
LONG_SUMS = (516, 1028, 2056, 4104)
FEW_ROWS = (2, 4, 8, 17, 65)
# Few rows of `onehot` ask for a weight of the tail: it has other data four times
FILLS_OF_ROUNDINGS = (
    *(*("onehot",) * 4, "lanes", "randn", "cancel", "wide", "ties", "nonfinite", "alike"),
)
# Where engines dequantise a layer and multiply it by a library, in fills that show how
PREFILLS = ((128, 1024, 2048), (129, 1028, 2056), (256, 1028, 2048), (128, 1024, 4096))
FILLS_OF_PREFILLS = ("randn", "lanes", "onehot", "wide", "cancel")
GOLDEN = 2654435769  # 2^32 by the golden ratio
EVERY = 10  # of so many cases of `roundings`, once K is long, one is of a prefill
# Axes that take turns
ROTATED = ("dtype", "scales_dtype", "checkpoint_format", "zeros", "g_idx", "bias", "out")


def sweep(dimension: str, limits: Limits, seed: int = 0, is_wide: bool = True) -> list[Case]:
    """The cases of one dimension, the smallest first; the other axes take turns.

    First beside the smallest other sizes, then, where `is_wide`, beside whole tiles. `seed` chooses
    the values of tokens that are not optional: one for each pass through the dimension, since each
    may have to be compiled.
    """
    found = []
    for wide in (False, True)[: 1 + is_wide]:
        turn = seed + 2 * DIMENSIONS.index(dimension) + wide
        found += [
            rotated(limits, f"{dimension} {place}", turn, **sizes)
            for place, sizes in enumerate(_SIZES[dimension](limits, wide))
        ]
    return list(dict.fromkeys(found))


def must_pass_sweep(kernel: KernelUnderTest, dimension: str, seed: int, of_time=1.0) -> None:
    """Judge a dimension, within its share of the time that is left. Raises Failure."""
    cases = sweep(dimension, kernel.limits, seed)
    costs = {name: sum(map(_cost, sweep(name, kernel.limits, seed))) for name in DIMENSIONS}
    spent = sum(kernel.tallies[name].seconds for name in DIMENSIONS if name in kernel.tallies)
    ahead = sum(cost for name, cost in costs.items() if name not in kernel.tallies)
    share = costs[dimension] / max(ahead, 1)
    seconds = of_time * (SECONDS_OF_A_SLOW_ONE if kernel.is_slow else SECONDS)
    must_pass_series(kernel, dimension, cases, (seconds - spent) * share, seed)


def rotated(limits: Limits, key: str, turn: int = 0, **sizes) -> Case:
    """A Case of these sizes whose other axes have values that `key` chooses, tokens by `turn`."""
    axes = {field: choose(limits.of(BY_FIELD[field]), key, field) for field in ROTATED}
    axes["rank"], axes["start"] = limits.laid_out[0], limits.starts[0]
    layout = limits.layouts_of(axes["rank"])[0]
    axes["layout"] = BY_FIELD["layout"].with_number(layout, 8)
    wanted = ("exact", VARIED) if sizes.get("n", 0) >= KINDS_OF_COLUMNS else ("exact",)
    fills = [fill for fill in wanted if fill in limits.fills] or limits.fills[:1]
    axes["fill"] = choose(fills, key, "fill")
    axes["extra"] = tuple(
        (token.name, token.values[turn % len(token.values)])
        for token in limits.tokens
        if not token.optional
    )
    return Case(**limits.fitted(axes | sizes))


def choose(values, key: str, axis: str):
    """One of `values`, as good as drawn, the same one each time."""
    # Sums of two axes differ by a constant, whatever the key: multiplied they do not go together.
    drawn = zlib.crc32(f"{axis} {key}".encode()) * GOLDEN % 2**32
    return values[drawn * len(values) >> 32]


def near(*centres: int, step: int = 1) -> set[int]:
    """These and their neighbours."""
    return {centre + side for centre in centres for side in (-step, 0, step)}


def rows(limits: Limits) -> list[int]:
    """Each M."""
    return sorted(
        {*range(EVERY_ROW + 1), *near(limits.tile[0], *ROWS)} if has_rows(limits) else {1}
    )


def whole_words(unit: int, side: int) -> set[int]:
    """N or K in multiples of `unit`: each residue of PERIOD before and behind whole tiles, and
    around a tile's `side`.
    """
    every = 2 * PERIOD // math.gcd(unit, PERIOD)
    tile = -(-side // unit) * unit
    return {unit * count for count in range(1, every + 1)} | near(tile, step=unit) - {0}


def long_words(unit: int, place: int, wide: bool) -> set[int]:
    """N or K in multiples of `unit`, far above a tile: around the sizes where kernels change, and
    what models have. Beside whole tiles one of each three neighbours.
    """
    around = [near(-(-size // unit) * unit, step=unit) for size in SIZES]
    if wide:
        return {choose(sorted(sizes), f"{place} {min(sizes)}", "near") for sizes in around}
    in_models = {shape[place == 1] for shape in NAMES}
    return set().union(*around) | {size for size in in_models if size % unit == 0}


def has_rows(limits: Limits) -> bool:
    """Whether there may be other than one row."""
    return limits.ranks[0] != 1


def _others(limits: Limits, bits: int, wide: bool) -> tuple[int, int, int]:
    """(m, n, k) as small as the kernel allows, or as whole tiles."""
    units = limits.units(codes_in_words(bits))
    if not wide:
        return units
    m, n, k = (-(-side // unit) * unit for side, unit in zip(limits.tile, units, strict=True))
    return m if has_rows(limits) else 1, n, k


def group_size(limits: Limits, key: str) -> int:
    return choose(limits.group_sizes or GROUP_SIZES, key, "group")


def _elements(m: int, n: int, k: int) -> int:
    """Of x, weights and result."""
    return m * k + k * n + m * n


def _cost(case: Case) -> float:
    """What it takes to judge a case, in those of one word."""
    return 1 + _elements(case.m, case.n, case.k) / AS_DEAR


def _affordable(*options: dict) -> Iterator[dict]:
    """The first that is no more than one case of a sweep may hold, if any is."""
    for sizes in options:
        if _elements(sizes["m"], sizes["n"], sizes["k"]) <= AFFORDABLE:
            yield sizes
            return


def _along_m(limits: Limits, wide: bool) -> Iterator[dict]:
    for m in rows(limits):
        bits = choose(limits.bits, f"M {m}", "bits")
        (_, n, k), (_, _, least) = (_others(limits, bits, w) for w in (wide, False))
        sizes = {"m": m, "n": n, "k": k, "bits": bits, "group_size": group_size(limits, f"M {m}")}
        yield from _affordable(sizes, sizes | {"k": least}) if wide else [sizes]


def _words(limits: Limits, place: int, wide: bool) -> Iterator[tuple[int, int]]:
    """(size, bits) along N or K, the smallest first; a long one for one number of bits alone."""
    pairs: dict[int, list[int]] = {}
    for bits in limits.bits:
        unit = limits.units(codes_in_words(bits))[place]
        for size in whole_words(unit, limits.tile[place]) | long_words(unit, place, wide):
            pairs.setdefault(size, []).append(bits)
    for size, allowed in sorted(pairs.items()):
        if size >= LONGEST:  # those whose words are the smallest
            yield from ((size, bits) for bits in allowed if bits == max(limits.bits))
        elif size >= LONG:
            yield size, choose(allowed, f"{place} {size}", "bits")
        else:
            yield from ((size, bits) for bits in allowed)


def _along_words(name: str, place: int, limits: Limits, wide: bool) -> Iterator[dict]:
    for turn, (size, bits) in enumerate(_words(limits, place, wide)):
        m, n, k = _others(limits, bits, wide)
        _, least_n, least_k = _others(limits, bits, False)
        m += wide and turn % 2 and has_rows(limits)  # whole tiles, and one row behind them
        sizes = {"m": m, "n": n, "k": k, "bits": bits} | {name: size}
        sizes["group_size"] = group_size(limits, f"{name} {size}")
        narrow = sizes | {"n": least_n, "k": least_k} | {name: size}
        yield from _affordable(sizes, narrow) if wide else [sizes]


def _along_n(limits: Limits, wide: bool) -> Iterator[dict]:
    return _along_words("n", 1, limits, wide)


def _along_k(limits: Limits, wide: bool) -> Iterator[dict]:
    return _along_words("k", 2, limits, wide)


def _along_groups(limits: Limits, wide: bool) -> Iterator[dict]:
    """Each number of groups, of the smallest size, and two of any size; beside tiles, few."""
    for groups in TILED_GROUPS if wide else range(1, EVERY_GROUP + 1):
        bits = choose(limits.bits, f"groups {groups}", "bits")
        unit = limits.units(codes_in_words(bits))[2]
        size = _smallest_group(limits, unit)
        k = groups * size // unit * unit
        if k > (groups - 1) * size:  # not where the kernel knows one group alone
            m, n, _ = _others(limits, bits, wide)
            sizes = {"m": m, "n": n, "k": k, "bits": bits, "group_size": size}
            yield from _affordable(sizes) if wide else [sizes]
    if not wide:
        yield from _two_groups(limits)
        yield from _many_groups(limits)


def _smallest_group(limits: Limits, unit: int) -> int:
    """Rows of the smallest group, of those that need not share a word if any; 0 for none."""
    sizes = [size for size in limits.group_sizes or (unit,) if size != WHOLE_GROUP]
    whole = [size for size in sizes if size >= unit]
    return min(whole or sizes, default=0)


def _two_groups(limits: Limits) -> Iterator[dict]:
    """A group of 2^i rows and a few more in another, shuffled where the kernel allows that."""
    powers: Iterable[int] = (2**i for i in range(LARGEST_GROUP.bit_length()))
    sizes = [size for size in limits.group_sizes or powers if size != WHOLE_GROUP]
    for size in sorted(sizes):
        bits = choose(limits.bits, f"size {size}", "bits")
        m, n, unit = _others(limits, bits, False)
        shuffled = {"g_idx": "act"} if "act" in limits.g_idx else {}
        k = (size // unit + 1) * unit
        yield {"m": m, "n": n, "k": k, "bits": bits, "group_size": size, **shuffled}


def _many_groups(limits: Limits) -> Iterator[dict]:
    """So many of so many columns that scales, and words of zero-points, are a few more than 2^15,
    2^16 and 2^17; no zero-points that tell little of where they were read.
    """
    told = {"zeros": limits.zeros[0], "g_idx": limits.g_idx[0]}
    for turn, (bits, count) in enumerate(itertools.product((WORD_BITS, *limits.bits), COUNTS)):
        elements = count * WORD_BITS // bits
        is_of_words = bits != WORD_BITS
        bits = bits if is_of_words else choose(limits.bits, f"scales {count}", "bits")
        m, unit_n, unit = _others(limits, bits, False)
        size = 1 if limits.group_sizes is None else _smallest_group(limits, unit)
        n = -(-MANY_COLUMNS[turn % len(MANY_COLUMNS)] // unit_n) * unit_n
        k = -(-(elements // n + 1) * size // unit) * unit
        if size and elements * size <= AFFORDABLE:
            m += 16 * (turn // 2 % 2 and has_rows(limits))
            yield {"m": m, "n": n, "k": k, "bits": bits, "group_size": size, **told}


def _tailed(limits: Limits, wide: bool) -> Iterator[dict]:
    """Each two of three large sizes, once beside the smallest third and once beside a large one;
    few rows beside two large ones; a few rows more than make 10^6 or 2^20 elements of x. Early,
    since a slow machine comes to no end: more tiles than there are cores, beside a K with a tail.
    """
    if wide:
        yield from _of_whole_layers(limits)
    counted = TAILED_ROWS if has_rows(limits) else (1,)
    for turn, (m, n) in enumerate(itertools.product(counted, TAILED)):
        bits = choose(limits.bits, f"tails {m} {n} {wide}", "bits")
        _, unit_n, unit_k = limits.units(codes_in_words(bits))
        other = TAILED[(turn + turn // len(TAILED)) % len(TAILED)]
        n, k = (-(-size // unit) * unit for size, unit in ((n, unit_n), (other, unit_k)))
        sizes = {"bits": bits, "group_size": group_size(limits, f"tails {m} {n} {wide}")}
        if wide and m * n * k <= LARGEST_PRODUCT:
            yield sizes | {"m": m, "n": n, "k": k}
        if not wide:
            yield sizes | {"m": m, "n": n, "k": unit_k}
            yield sizes | {"m": m, "n": unit_n, "k": k}
        if not wide and turn == len(TAILED) - 1:
            yield from _of_many_tiles(limits)


def _of_many_tiles(limits: Limits) -> Iterator[dict]:
    for m, n, k in MANY_TILES:
        key = f"many tiles {m} {n} {k}"
        bits = choose(limits.bits, key, "bits")
        _, unit_n, unit_k = limits.units(codes_in_words(bits))
        n, k = (-(-size // unit) * unit for size, unit in ((n, unit_n), (k, unit_k)))
        if m == 1 or has_rows(limits):
            sizes = {"m": m, "n": n, "k": k, "bits": bits}
            yield sizes | {"group_size": group_size(limits, key)}


def _of_whole_layers(limits: Limits) -> Iterator[dict]:
    for m in ROWS_OF_A_MILLION if has_rows(limits) else ():
        bits = choose(limits.bits, f"million {m}", "bits")
        _, n, unit = limits.units(codes_in_words(bits))
        sizes = {"bits": bits, "group_size": group_size(limits, f"million {m}")}
        yield sizes | {"m": m, "n": n, "k": -(-4096 // unit) * unit}


def _roundings(limits: Limits, wide: bool) -> Iterator[dict]:
    """Long sums of few rows in every fill that shows a rounding, among them those of a prefill;
    nothing beside whole tiles.
    """
    if wide:
        return
    fills = [fill for fill in FILLS_OF_ROUNDINGS if fill in limits.fills]
    prefills = _of_prefills(limits)
    counted = FEW_ROWS if has_rows(limits) else (1,)
    for turn, (k, m, fill) in enumerate(itertools.product(LONG_SUMS, counted, fills)):
        bits = choose(limits.bits, f"roundings {turn}", "bits")
        _, n, unit = limits.units(codes_in_words(bits))
        sizes = {"m": m, "n": n, "k": -(-k // unit) * unit, "bits": bits, "fill": fill}
        yield sizes | {"group_size": group_size(limits, f"roundings {turn}"), "seed": turn}
        if turn % EVERY == 0 and k >= PREFILLS[0][2]:
            yield from itertools.islice(prefills, 1)
    yield from prefills


def _of_prefills(limits: Limits) -> Iterator[dict]:
    """Each size in a third of the fills."""
    fills = [fill for fill in FILLS_OF_PREFILLS if fill in limits.fills]
    turns = itertools.product(PREFILLS, fills) if has_rows(limits) else ()
    for turn, ((m, n, k), fill) in enumerate(turns):
        bits = choose(limits.bits, f"prefills {turn}", "bits")
        _, unit_n, unit_k = limits.units(codes_in_words(bits))
        n, k = (-(-size // unit) * unit for size, unit in ((n, unit_n), (k, unit_k)))
        sizes = {"m": m, "n": n, "k": k, "bits": bits, "fill": fill, "seed": turn}
        if turn % 3 == 0:
            yield sizes | {"group_size": group_size(limits, f"prefills {turn}")}


_SIZES = {
    "M": _along_m,
    "N": _along_n,
    "K": _along_k,
    "groups": _along_groups,
    "tails": _tailed,
    "roundings": _roundings,
}
