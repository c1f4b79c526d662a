"""What engines choose a path by, where several things have to meet: kinds of crossings.

The checkpoint that most files are, beside each bucket of rows; so many results, or elements of x,
that a workspace of fixed size is filled more than once, the last time in part; small or unequal
groups in a shuffled order of a layer that is large in all three sizes; an infinity early in a sum
so long that it is made in blocks; an ambient state beside a size that its numbers do not count to;
each layout of x, place in memory, order of rows and form of zero-points beside a long dimension;
more weights than a panel holds that is made and multiplied at a time; scales that are alike in
blocks of columns; every fill beside many rows, columns, and terms; each number of few rows beside
a long K; N of models in use, by which the width of a tile is chosen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from gptq_fuzz.case.axes import BATCHED, BY_FIELD, FILLS_OF, STATES, WHOLE_GROUP
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.history import PARAMETERS
from gptq_fuzz.search.models import NAMES
from gptq_fuzz.search.usual import GROUP, as_usual, takes_groups, usual

# bits, rows in a group, their order, zero-points: what most files have, and what differs from it
COMMONEST = ((4, GROUP, "seq", "zsym"), (8, GROUP, "seq", "zsym"))
OTHERS = (
    *((4, GROUP, "act", "zsym"), (4, GROUP, "seq", "zall"), (4, 64, "seq", "zsym")),
    *((4, WHOLE_GROUP, "seq", "zsym"), (8, 32, "seq", "zsym"), (8, WHOLE_GROUP, "seq", "zall")),
    *((4, 32, "act", "zall"), (8, 64, "act", "zsym"), (2, GROUP, "seq", "zsym")),
    *((4, GROUP, "seq", "zfour"), (8, GROUP, "seq", "zfour")),
)
SIDE = 256  # of N and K: whole tiles, and two of the usual groups
# For either of the commonest: one row more than each power of two, or a whole number of tiles
BUCKETS = ((1, 17, 33, 65, 129, 257, 513, 1025, 2049, 4097), (1, 17, 33, 65, 129, 257, 1025, 2048))
SOME_BUCKETS = (1025, 257, 2049, 129, 513)

# Rows and columns: no workspace of 2^20 to 2^26 results is filled a whole number of times
RESULTS = ((527, 128256), (2049, 8200))
ELEMENTS_OF_X = ((520, 8200),)  # rows and K: the same of 2^20 to 2^22 elements of x
PROMPT = (4097, 4104)  # rows and K: more elements of x than a float32 counts

# Rows, bits, rows in a group, their order, N and K; of the first a row behind whole tiles
SHUFFLED = ((65, 4, 128, "act", 4096), (129, 8, 16, "act", 2048), (129, 4, 32, "mix", 2048))

LONG = (8200, 11008, 16392)  # K
EARLY = (3, 12, 15)  # seeds of which x alone is not finite, in some rows by one infinity
ROWS = 8

# Beside each ambient state: M, N, K; bfloat16 counts to 256, float16 to 2048
COUNTED = ((2, 1, 8320), (2, 4104, 1), (2100, 1, 1))

# Each value of an axis beside each of these M, N, K: more rows of K than a block of it has, and
# than 16 bits count
LONGEST = 65600  # K, for one word of N
BESIDE_LONG = {
    "layout": ((5, 1, 16400), (2056, 1, 1)),
    "start": ((2, 1, 16400), (2056, 1, 1), (2, 4104, 1)),
    "g_idx": ((1, 1, 16400), (2, 1, 53248), (2, 1, LONGEST)),
    "zeros": ((1, 1, 16400), (2, 4104, 1)),
}
# K and rows in a group, beside more columns than one tile of them: a stage for scales ends at a
# power of two, or at some hundred groups
MANY_GROUPS = ((14336, 32), (28672, 64), (11008, 32), (18944, 32), (8192, 8), (28672, 32))
BESIDE_GROUPS = (72, 136)  # columns, in turn
SQUARES = (32, 64, 96)  # two or all three sizes alike, which tell no more what is transposed
APART = 3  # the number of a layout that has one
# `coarse`: blocks of 128, 64 and 32 columns; powers of two for the layer, for blocks of 128 columns
COARSE_COLUMNS, COARSE_SEEDS = 336, (1, 5, 9, 20, 21)
ALIKE_SEEDS = (0, 1, 2)
PANELS = ((17, 4096, 4104),)  # more than 2^24 weights
# Rows and K of each fill, beside one word of N: what is listed of a row, or counted, comes to more
# than lists of some hundred hold; then whole tiles and shares of any size
FILLED = ((4, 8200), (4, 16392), (4, 4096), (1, 2048), (17, 1024), (1025, 128))
FILLED_COLUMNS = (1, 1024, 256)  # M, N, K of each fill and number of bits
# Few rows, each number of them, beside K: more than memory for rows of x holds at a time
EACH_OF_FEW, STAGED = range(1, 17), (5128, 8200, 14344)

# N of models in use, beside a K that is long enough for what is for long ones: a few that are no
# multiple of many tiles, then all others, the least even ones first
FEW_WIDTHS = (8960, 14336, 11008)
MORE_WIDTHS = sorted({n for _, n in NAMES if n > 4096} - {*FEW_WIDTHS}, key=lambda n: (n & -n, n))
ROWS_OF_WIDTHS, DEPTH = (1, 16, 3), 1024


def typical(limits: Limits) -> Iterator[dict]:
    for rows, chosen in zip(BUCKETS, COMMONEST, strict=True):
        yield from (_checkpoint(limits, m, *chosen) for m in rows)
    for turn, chosen in enumerate(OTHERS):
        for place in (turn, turn + 2):
            yield _checkpoint(limits, SOME_BUCKETS[place % len(SOME_BUCKETS)], *chosen)


def _checkpoint(limits: Limits, m: int, bits: int, size: int, g_idx: str, zeros: str) -> dict:
    options = {"g_idx": g_idx, "zeros": zeros if zeros in limits.zeros else limits.zeros[0]}
    return {"m": m, "n": SIDE, "k": SIDE, "bits": bits, "group_size": size, "options": options}


def more_than_a_workspace(limits: Limits) -> Iterator[dict]:
    """Beside one word of the third size, which keeps them cheap."""
    for m, n in RESULTS:
        yield {"m": m, "n": n, "k": 1, "options": usual(limits)}
    for m, k in ELEMENTS_OF_X:
        yield {"m": m, "n": 1, "k": k, "options": usual(limits, turn=1)}


def long_prompt(limits: Limits) -> Iterator[dict]:
    m, k = PROMPT
    yield as_usual(limits, m, 1, k)


def shuffled_layers(limits: Limits) -> Iterator[dict]:
    for m, bits, size, g_idx, side in SHUFFLED:
        options = usual(limits) | {"g_idx": g_idx}
        sizes = {"m": m, "n": side, "k": side, "bits": bits, "group_size": size}
        yield sizes | {"options": options}


def early_infinities(limits: Limits) -> Iterator[dict]:
    if "nonfinite" in limits.fills:
        for k, seed in itertools.product(LONG, EARLY):
            sizes = as_usual(limits, ROWS, 1, k)
            yield sizes | {"options": sizes["options"] | {"fill": "nonfinite", "seed": seed}}


def states_of_large(limits: Limits) -> Iterator[dict]:
    """In whole groups of the usual size, so that there are many of them."""
    for (m, n, k), state in itertools.product(COUNTED, (*STATES, PARAMETERS)):
        if state in limits.conditions:
            sizes = as_usual(limits, m, n, k)
            dtype = next((name for name in limits.dtypes if name != "f32"), limits.dtypes[0])
            if state == "autocast" and dtype == "f32":  # which is for 16 bits
                continue
            yield sizes | {"options": sizes["options"] | {"condition": state, "dtype": dtype}}


def beside_a_long_one(limits: Limits) -> Iterator[dict]:
    for field, places in BESIDE_LONG.items():
        axis = BY_FIELD[field]
        for turn, value in enumerate(limits.of(axis)):
            options = usual(limits, turn) | {field: axis.with_number(value, APART)}
            if field == "layout":
                options |= _of_a_layout(limits, value)
            for m, n, k in places if None not in options.values() else ():
                bits = {"bits": max(limits.bits)} if k >= LONG[0] else {}  # in the smallest words
                yield {"m": m, "n": n, "k": k, "options": options} | bits


def many_groups(limits: Limits) -> Iterator[dict]:
    for turn, (k, size) in enumerate(MANY_GROUPS):
        if takes_groups(limits, size):
            sizes = {"m": 1 + turn % 2, "n": BESIDE_GROUPS[turn % 2], "k": k, "group_size": size}
            yield sizes | {"options": usual(limits, turn // 2)}


def squares(limits: Limits) -> Iterator[dict]:
    """Each layout of x of as many rows as columns, beside as many columns of the layer or more."""
    axis = BY_FIELD["layout"]
    for turn, value in enumerate(limits.of(axis)):
        side = SQUARES[turn % len(SQUARES)]
        options = usual(limits, turn) | {"layout": axis.with_number(value, APART)}
        options |= _of_a_layout(limits, value)
        for n in (side, 2 * SQUARES[-1]) if None not in options.values() else ():
            yield {"m": side, "n": n, "k": side, "options": options}


def coarse_scales(limits: Limits) -> Iterator[dict]:
    """Alike in blocks of columns, of which the last has a part, or nearly alike; in each number of
    bits.
    """
    kinds = [("coarse", seed) for seed in COARSE_SEEDS] + [("alike", seed) for seed in ALIKE_SEEDS]
    for bits, (fill, seed) in itertools.product(limits.bits, kinds):
        if fill in limits.fills:
            options = usual(limits, seed) | {"fill": fill, "seed": seed}
            yield {"m": 1, "n": COARSE_COLUMNS, "k": SIDE, "bits": bits, "options": options}


def filled_rows(limits: Limits) -> Iterator[dict]:
    for (m, k), fill in itertools.product(FILLED, limits.fills):
        sizes = as_usual(limits, m, 1, k)
        yield sizes | {"options": sizes["options"] | {"fill": fill}}


def filled_columns(limits: Limits) -> Iterator[dict]:
    m, n, k = FILLED_COLUMNS
    for bits, fill in itertools.product(limits.bits, limits.fills):
        sizes = as_usual(limits, m, n, k) | {"bits": bits}
        yield sizes | {"options": sizes["options"] | {"fill": fill}}


def few_rows_of_long(limits: Limits) -> Iterator[dict]:
    for k, m in itertools.product(STAGED, EACH_OF_FEW):
        yield as_usual(limits, m, 1, k)


def widths_of_models(limits: Limits) -> Iterator[dict]:
    """By N, and the tiles that fill a GPU with these, engines choose the width of a tile."""
    return _of_widths(limits, FEW_WIDTHS)


def more_widths_of_models(limits: Limits) -> Iterator[dict]:
    return _of_widths(limits, MORE_WIDTHS)


def _of_widths(limits: Limits, widths: Iterable[int]) -> Iterator[dict]:
    for m, n in zip(itertools.cycle(ROWS_OF_WIDTHS), widths):
        yield as_usual(limits, m, n, DEPTH)


def _of_a_layout(limits: Limits, value: str) -> dict:
    """The rank and the fill that it asks for, if any; None where the kernel takes no such."""
    ranks = (rank for rank in limits.ranks if rank > 2)
    fills = (fill for fill in FILLS_OF.get(value, ()) if fill in limits.fills)
    options = {"rank": next(ranks, None)} if value in BATCHED else {}
    return options | ({"fill": next(fills, None)} if value in FILLS_OF else {})


def more_than_a_panel(limits: Limits) -> Iterator[dict]:
    """In a fill that shows it where sums of parts are rounded."""
    for m, n, k in PANELS if "wide" in limits.fills else ():
        sizes = as_usual(limits, m, n, k)
        yield sizes | {"options": sizes["options"] | {"fill": "wide"}}
