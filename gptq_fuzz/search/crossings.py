"""Large sizes that cross: what a kernel does only where two or three of them meet.

`sweep` makes one dimension large at a time, and of few rows beside large N and K a handful. Kernels
choose by all three: split-K for few rows of a long K, a rest behind whole blocks of a long prompt,
a scratch that a layer fills more than once, a division that is exact up to 2^24, a product of all
three in 32 bits. Those that cost next to nothing are all asked, and a few others; of the rest one
of each kind before the second of any.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

from gptq_fuzz.case.axes import (
    FORMS_OF_BANDS,
    PLACES_OF_BANDS,
    VARIED,
    bands_of,
    codes_in_words,
)
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.paths import (
    beside_a_long_one,
    coarse_scales,
    early_infinities,
    few_rows_of_long,
    filled_columns,
    filled_rows,
    long_prompt,
    many_groups,
    more_than_a_panel,
    more_than_a_workspace,
    more_widths_of_models,
    shuffled_layers,
    squares,
    states_of_large,
    typical,
    widths_of_models,
)
from gptq_fuzz.search.series import FIRST, must_pass_series
from gptq_fuzz.search.sweep import choose, group_size, has_rows, rotated
from gptq_fuzz.search.usual import GROUP, as_usual, takes_groups, usual

SERIES, EDGES, OF_BATCHES = "crossings", "edges", "batches"
SECONDS, SECONDS_OF_A_SLOW_ONE = 20.0, 3.0
SECONDS_OF_BATCHES, SECONDS_OF_EDGES = 10.0, 3.0
DEAREST = 2.0  # of that time, for one case

# Whole blocks of 1024 rows, then of 256, before each remainder of 64
BLOCKS, MORE_BLOCKS, REMAINDERS = 1024, 2304, 64
STRIDE = 39  # about 64 by the golden ratio: the first few lie in each quarter, each eighth
LARGE_GROUPS = (4096, 1024, 8192, 2048, 512)
LONG = (12288, 28672, 16384, 32768, 65536)  # K of one word of N
UNEVEN = ((64, 4), (32, 5), (128, 4), (64, 8), (32, 8), (128, 6))  # rows and number of groups
ONE_OR_TWO = (1, 2)  # rows, of which one leaves out every second k where K is longest
# Decoding of many users at once: too few tiles of a result for a device, so that K is cut
BATCHES = (
    *((33, 256, 4096), (17, 512, 4096), (65, 1024, 4096), (128, 256, 8192)),
    *((48, 2048, 4096), (64, 512, 8192), (96, 1028, 4100), (24, 260, 8196)),
)
FILLS_OF_BATCHES = ("exact", "cancel", "wide")  # which show a sum that was rounded on its way
PREFILL = (129, 1024, 2048)  # rows, columns, reduction
# Powers of two whose product is 2^31, 2^32: where 32 bits hold it, it is negative, or 0
WRAPPED = ((2048, 4096, 256), (4096, 2048, 512), (128, 4096, 4096))
# Rows of a batch between one tile and a prefill, with fills that show how x and weights are rounded
WIDE = 2048
# Products large in all three, with fills of rows that have nothing to do with each other: less work
# is done where blocks of rows and columns are added before they are multiplied
CUBES = ((512, "nonfinite"), (512, "wide"), (1024, "nonfinite"))
MIDDLE_ROWS = ((64, "randn"), (17, "onehot"), (127, "randn"), (257, "onehot"))
DECODED = 1, 11008, 4096  # of a layer with more than 2^25 weights
# Few rows of large layers, with a bias where there is any
LAYERS = (
    *((1, 1024, 8192), (8, 2048, 4096), (16, 1028, 8196), (3, 8448, 1024)),
    *((1, 4096, 4096), (65, 4096, 4096)),
)
# A little more than 2^25 weights of 2 bits, of others more tiles of 16 x 64 than 16 bits count. K
# is no power of two: of what fits, no whole number of rows
SCRATCH, LIST = (8, 3056, 11008), (2, 6144, 10928)
# Tiles of columns T whose reciprocal is short in float32, so that int(T * (1 / T)) is 0, of so many
# columns; with a second row of tiles of so many rows
WIDTHS, ROWS_OF_TILES = (128, 64), (64, 128)
MOST_TILES = 64
# Columns behind 512, modulo 128 and 256, beside groups that are a part of a block of 128 rows
RESIDUES, SMALL_GROUPS, COLUMNS_BEFORE = (64, 32, 192, 128), (32, 64, 16, 128), 512

# A kernel for each bucket of rows, size of group and number of bits; of columns and rows of K whole
# tiles, and more than a few stages
BUCKETS, SIZES, TILES = (17, 8, 48, 65), (128, 64, 32), (256, 1152)
SHARDS, SHARD, ROWS_OF_SHARDS = ("begun", "shard"), 2048, (1, 16)
# Steps of 64 x 128 weights in whole numbers for each multiprocessor of a GPU: who shares them out
# has nothing to add up
MULTIPROCESSORS, STEP = (108, 132), (64, 128)  # of an A100, an H100
# Wide results of short sums, with fills that show how weights, sums and results are rounded
SHORT_SUM, WIDE_RESULTS, FEW, ROUNDED_FILLS = 128, (2048, 4096), (1, 8), ("onehot", "randn")
WIDEST, FEWEST = 8704, (1, 2, 3, 4)  # columns, rows
ROWS, COLUMNS = 129, 1024
FILLS_OF_FLOAT32 = ("onehot", "wide")  # elsewhere so long a sum may be off by more than x is
# Layouts of x, read by whole vectors or by descriptors where products are large
LAYOUTS, LARGE = ("pad1", "off1", "xt", "pad4"), (65, 1024, 1024)
# No powers of two, K and N beside them
ODD_GROUPS, LENGTHS_OF_ODD_GROUPS = (96, 24, 160, 48, 320, 40), ((700, 1), (2400, 1), (1300, 260))

BAND_SIDE = 64  # N and K of layers whose zero-points lie in a band

# Sizes from which on kernels are pipelined, and may load ahead of what there is
EDGY = (
    *((1, 1, 4096), (64, 1, 1), (1, 4096, 1), (16, 1, 8192), (512, 1, 1), (17, 1, 4096)),
    *((1, 8192, 1), (64, 1, 4096), (4096, 1, 1), (64, 4096, 1), (512, 1, 1024), (8, 260, 4100)),
)


def crossing_cases(limits: Limits, seed: int = 0) -> list[Case]:
    """Those that are always asked, the cheap ones first, then the others, of each kind in turn."""
    return [
        *always_asked(limits, seed),
        *_in_turn([kind(limits) for kind in _OTHERS], limits, seed),
    ]


def must_pass_crossings(kernel: KernelUnderTest, seed: int, of_time: float = 1.0) -> None:
    """Judge them for as long as there is time. Raises Failure."""
    limits = kernel.limits
    in_order = len(always_asked(limits, seed)) + len(_OTHERS)
    must_pass_series(
        kernel,
        SERIES,
        crossing_cases(limits, seed),
        of_time * (SECONDS_OF_A_SLOW_ONE if kernel.is_slow else SECONDS),
        seed,
        first=FIRST if kernel.is_slow else in_order,
        dearest=DEAREST,
    )


def edge_cases(limits: Limits, seed: int = 0) -> list[Case]:
    """Large sizes that are asked where memory ends: those that cost no more than drawn cases."""
    sizes = ({"m": m, "n": n, "k": k, "options": usual(limits)} for m, n, k in EDGY)
    found = _in_turn([sizes], limits, seed)
    return [case for case in found if limits.affords(case.m, case.n, case.k, case.unit)]


def must_pass_edges(kernel: KernelUnderTest, seed: int, of_time: float = 1.0) -> None:
    """Judge their operands at the edges of mapped memory. Raises Failure."""
    cases = edge_cases(kernel.limits, seed)
    must_pass_series(kernel, EDGES, cases, of_time * SECONDS_OF_EDGES, seed, checks=("guarded",))


def batch_cases(limits: Limits, seed: int = 0) -> list[Case]:
    """A layer in each number of bits and in both orders of rows, for more rows than any batch; in
    order it has the usual groups.
    """
    turns = range(1 + (usual(limits) != usual(limits, 1))) if has_rows(limits) else ()
    m, n, k = PREFILL
    groups = {"group_size": GROUP} if takes_groups(limits, GROUP) else {}
    sizes = (
        {"m": m, "n": n, "k": k, "bits": bits, "options": usual(limits, turn)}
        | (groups if turn == 0 else {})
        for bits, turn in itertools.product(limits.bits, turns)
    )
    return _in_turn([sizes], limits, seed)


def must_pass_batches(kernel: KernelUnderTest, seed: int, of_time: float = 1.0) -> None:
    """Judge them in batches of every size too, of a kernel that is not slow. Raises Failure."""
    must_pass_series(
        kernel,
        OF_BATCHES,
        batch_cases(kernel.limits, seed),
        of_time * SECONDS_OF_BATCHES,
        seed,
        excuse=lambda case: "no time" * kernel.is_slow,
        dearest=DEAREST,
        checks=("row alone",),
    )


def always_asked(limits: Limits, seed: int = 0) -> list[Case]:
    """The cheap ones of each kind before the others."""
    lists = (_in_turn([kind(limits) for kind in kinds], limits, seed) for kinds in _ALWAYS)
    return list(itertools.chain.from_iterable(lists))


def _in_turn(kinds: list[Iterator[dict]], limits: Limits, seed: int) -> list[Case]:
    """One of each kind, then the second of each; those that the kernel takes."""
    found = []
    for sizes in itertools.chain.from_iterable(itertools.zip_longest(*kinds)):
        if sizes and (sizes["m"] == 1 or has_rows(limits)):
            key = f"{SERIES} {sizes}"
            options = sizes.pop("options", {})
            bits = sizes.setdefault("bits", choose(limits.bits, key, "bits"))
            _, *units = limits.units(codes_in_words(bits))
            for name, unit in zip("nk", units, strict=True):
                sizes[name] = -(-sizes[name] // unit) * unit
            sizes.setdefault("group_size", group_size(limits, key))
            if options.keys() & {"condition", "state", "layout"}:  # they do not go with all fills
                sizes["fill"] = "exact" if "exact" in limits.fills else limits.fills[0]
            found.append(rotated(limits, key, seed, **sizes).replace(**options))
    return list(dict.fromkeys(case for case in found if not limits.violations(case)))


def _rests(limits: Limits, blocks: int = BLOCKS) -> Iterator[dict]:
    for turn in range(REMAINDERS):
        yield {"m": blocks + 1 + turn * STRIDE % REMAINDERS, "n": 1, "k": 1}


def _large_groups(limits: Limits) -> Iterator[dict]:
    for turn, (k, size) in enumerate(itertools.product(LONG, LARGE_GROUPS)):
        m = ONE_OR_TWO[has_rows(limits) and turn % 2]
        if takes_groups(limits, size):
            yield {"m": m, "n": 1, "k": k, "group_size": size, "options": usual(limits, turn)}


def _uneven_groups(limits: Limits) -> Iterator[dict]:
    """What looks like groups of one size, a whole number of vectors, and is not."""
    for size, groups in UNEVEN if "uneven" in limits.g_idx else ():
        if takes_groups(limits, size):
            options = usual(limits) | {"g_idx": "uneven"}
            yield {"m": 1, "n": 1, "k": size * groups, "group_size": size, "options": options}


def _short_reciprocals(limits: Limits) -> Iterator[dict]:
    """More than one row of so many tiles that a division by their number, done as a product with
    its reciprocal in float32, gives too little.
    """
    short = [count for count in range(1, MOST_TILES) if _float32(count * _float32(1 / count)) < 1]
    wanted = itertools.product(WIDTHS, ROWS_OF_TILES)
    for count, (width, rows) in zip(itertools.cycle(short), wanted, strict=False):
        yield {"m": rows + 1, "n": count * width, "k": 1}


def _bands(limits: Limits) -> Iterator[dict]:
    """Each band of zero-points that a layer may have, at each place, in each number of bits."""
    taken = limits.bits if "zband" in limits.zeros else ()
    counts = {bits: len(bands_of(bits)) * PLACES_OF_BANDS for bits in taken}
    for bits, turn in ((bits, turn) for bits, count in counts.items() for turn in range(count)):
        options = usual(limits, turn) | {"zeros": "zband", "seed": FORMS_OF_BANDS * turn}
        yield {"m": 1, "n": BAND_SIDE, "k": BAND_SIDE, "bits": bits, "options": options}


def _float32(value: float) -> float:
    """Rounded: a product of two such numbers is exact before."""
    return struct.unpack("f", struct.pack("f", value))[0]


def _small_groups(limits: Limits) -> Iterator[dict]:
    """Small groups of many columns, of which the last tile is a part, in each number of bits."""
    options = usual(limits)
    combined = itertools.product(RESIDUES, SMALL_GROUPS, limits.bits)
    for turn, (more, size, bits) in enumerate(combined):
        if takes_groups(limits, size):
            sizes = {"m": 1 + turn % 2 * has_rows(limits), "n": COLUMNS_BEFORE + more, "bits": bits}
            yield sizes | {"k": 2 * max(SMALL_GROUPS), "group_size": size, "options": options}


def _odd_groups(limits: Limits) -> Iterator[dict]:
    """Groups whose size is no power of two, the last a part of one or whole, beside few rows of K
    and as many as layers have: with a shift for a division, or K / G for their size, the group of
    a row is another one. In each number of bits, in order and in turn shuffled.
    """
    lists = (LENGTHS_OF_ODD_GROUPS, ODD_GROUPS, limits.bits)
    for chosen in itertools.product(*map(enumerate, lists)):
        places, ((length, columns), size, bits) = zip(*chosen, strict=True)
        if takes_groups(limits, size):
            turn = sum(places)
            k = length // size * size + turn % 3 * (size // 3)  # of which two leave a part over
            sizes = {"m": 1 + turn // 2 % 2 * has_rows(limits), "n": columns, "k": k, "bits": bits}
            yield sizes | {"group_size": size, "options": usual(limits, turn)}


def _shards(limits: Limits) -> Iterator[dict]:
    """A part of a layer's K, as each GPU has where K is shared: its groups have other numbers, and
    the first one rows of another GPU. Of few rows, for which K is cut again.
    """
    kinds = [kind for kind in SHARDS if kind in limits.g_idx]
    for turn, (kind, size) in enumerate(itertools.product(kinds, SIZES)):
        if takes_groups(limits, size):
            options = usual(limits) | {"g_idx": kind, "seed": turn}
            for m in ROWS_OF_SHARDS:
                sizes = {"m": m, "n": BAND_SIDE, "k": SHARD, "group_size": size}
                yield sizes | {"options": options}


def _prefills_of_float32(limits: Limits) -> Iterator[dict]:
    """Of which a GPU makes products of numbers of 11 or 8 digits unless it is told not to."""
    for fill in FILLS_OF_FLOAT32 if "f32" in limits.dtypes else ():
        if fill in limits.fills:
            sizes = as_usual(limits, ROWS, COLUMNS + 8, COLUMNS + 8)
            options = {"fill": fill, "dtype": "f32"}
            options |= {"scales_dtype": "sf32"} if "sf32" in limits.scales_dtypes else {}
            yield sizes | {"options": sizes["options"] | options}


def _instances(limits: Limits) -> Iterator[dict]:
    n, k = TILES
    for bits, m, size in itertools.product(limits.bits, BUCKETS, SIZES):
        if takes_groups(limits, size):
            sizes = {"m": m, "n": n, "k": k, "bits": bits, "group_size": size}
            yield sizes | {"options": usual(limits)}


def _even_shares(limits: Limits) -> Iterator[dict]:
    rows, columns = STEP
    for count in MULTIPROCESSORS:
        yield as_usual(limits, 1, 4 * columns, rows * count)


def _wide_results(limits: Limits) -> Iterator[dict]:
    combined = itertools.product(limits.bits, FEW, WIDE_RESULTS, ROUNDED_FILLS)
    kinds = [(m, n, fill, {"bits": bits}) for bits, m, n, fill in combined]
    kinds += [(ROWS, COLUMNS, fill, {}) for fill in limits.fills]
    kinds += [(m, WIDEST, VARIED, {}) for m in FEWEST]
    for m, n, fill, more in kinds:
        sizes = as_usual(limits, m, n, SHORT_SUM) | more
        if fill in limits.fills:
            yield sizes | {"options": sizes["options"] | {"fill": fill}}


def _layouts_of_large(limits: Limits) -> Iterator[dict]:
    m, n, k = LARGE
    for turn, layout in enumerate(LAYOUTS):
        yield {"m": m, "n": n, "k": k, "options": usual(limits, turn) | {"layout": layout}}


def _batches(limits: Limits) -> Iterator[dict]:
    fills = [fill for fill in FILLS_OF_BATCHES if fill in limits.fills] or limits.fills[:1]
    for turn, (m, n, k) in enumerate(BATCHES):
        options = {"fill": fills[turn % len(fills)]} | usual(limits, turn)
        yield {"m": m, "n": n, "k": k, "options": options}


def _wrapped(limits: Limits) -> Iterator[dict]:
    for m, n, k in WRAPPED:
        yield as_usual(limits, m, n, k)


def _middle_rows(limits: Limits) -> Iterator[dict]:
    for m, fill in MIDDLE_ROWS:
        if fill in limits.fills:
            sizes = as_usual(limits, m, WIDE, WIDE)
            yield sizes | {"options": sizes["options"] | {"fill": fill}}


def _cubes(limits: Limits) -> Iterator[dict]:
    for size, fill in CUBES:
        if fill in limits.fills:
            sizes = as_usual(limits, size, size, size)
            yield sizes | {"options": sizes["options"] | {"fill": fill}}


def _layers(limits: Limits) -> Iterator[dict]:
    for turn, sizes in enumerate(LAYERS):
        yield _of_several_fills(limits, *sizes, turn, bias=limits.bias)


def _decoded(limits: Limits) -> Iterator[dict]:
    yield _of_several_fills(limits, *DECODED)


def _of_several_fills(limits: Limits, m: int, n: int, k: int, turn: int = 0, **options) -> dict:
    """Too dear to be asked in one after another."""
    if VARIED in limits.fills:
        options["fill"] = VARIED
    return as_usual(limits, m, n, k) | {"options": usual(limits, turn) | options}


def _more_than_a_scratch(limits: Limits) -> Iterator[dict]:
    for bits in sorted(limits.bits, key=lambda bits: (bits != 4, bits)):
        m, n, k = SCRATCH if bits == 2 else LIST
        yield {"m": m, "n": n, "k": k, "bits": bits, "options": usual(limits)}


def _more_rests(limits: Limits) -> Iterator[dict]:
    return _rests(limits, MORE_BLOCKS)


# The first cost next to nothing, and come first with a few layers of real size: a busy machine may
# ask for no more
_ALWAYS = (
    (
        *(_rests, _large_groups, _uneven_groups, _odd_groups, _short_reciprocals, _small_groups),
        *(_bands, _shards),
    ),
    (_decoded, shuffled_layers, widths_of_models, long_prompt),
    (
        *(early_infinities, states_of_large, beside_a_long_one, coarse_scales, filled_rows),
        *(many_groups, squares, filled_columns, few_rows_of_long),
    ),
    (_instances, _even_shares, _wide_results, _layouts_of_large, typical),
    (_prefills_of_float32, more_than_a_workspace, _wrapped, _middle_rows, _cubes),
    (more_than_a_panel, more_widths_of_models),
)
_OTHERS = (_batches, _layers, _more_than_a_scratch, _more_rests)
