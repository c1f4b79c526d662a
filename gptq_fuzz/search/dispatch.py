"""Layers of real size in every combination that dispatchers branch by.

Triples of these are met at small sizes, and crossings beside each other's usual values. What an
engine does only in a layer that is large in both sizes, for one number of bits, size of group and
bucket of rows, with a bias, in one dtype, is met here: an orthogonal array over four values of
each. Any two properties of a layer come together, and either of a call (its bucket of rows; dtype,
bias and fill) with any two others, but for zero-points beside both.

C. R. Rao, "Factorial experiments derivable from combinatorial arrangements of arrays" (1947):
values of linear forms over a finite field come together wherever the forms are independent.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from gptq_fuzz.case.axes import VARIED, WHOLE_GROUP, codes_in_words
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.series import must_pass_series
from gptq_fuzz.search.sweep import has_rows, rotated
from gptq_fuzz.search.usual import takes_groups

SERIES = "dispatch"
SECONDS = 10.0
LEVELS = range(4)
# N, K: whole; a rest behind blocks of 64 rows of K, which are so many (21) that the last of eight
# equal shares has none; a rest behind whole tiles of columns, in whole words of 8 bits not even a
# multiple of 8; both
SHAPES = ((2048, 2048), (4096, 1376), (8196, 512), (1028, 4160))
BITS = (4, 8, 2, 3)
GROUPS = (128, WHOLE_GROUP, 32, 64)
ORDERS = ("seq", "act", "perm", "mix")
ZEROS = ("zall", "zsym", "zrow", "zeq")
# In turn: of one dispatcher's bucket the first few rows, the last few
ROWS = ((1, 8, 5, 16), (17, 33, 64, 48), (65, 128, 96, 127), (256, 129, 512, 257))
# Fills that show how each is rounded
CALLS = (
    {"dtype": "f16", "bias": False, "fill": VARIED},
    {"dtype": "f16", "bias": True, "fill": "exact"},
    {"dtype": "bf16", "bias": True, "fill": "onehot"},
    {"dtype": "f32", "bias": False, "fill": "randn"},
)


def dispatch_cases(limits: Limits, seed: int = 0) -> list[Case]:
    """Each layer with a call for each bucket of rows; the seed says which layer comes first, and
    how many rows.
    """
    layers = list(itertools.product(LEVELS, LEVELS))
    start = seed % len(layers)
    found = [
        case
        for turn, (one, other) in enumerate(layers[start:] + layers[:start])
        for case in _calls(limits, one, other, 2 * seed + turn)
    ]
    return list(dict.fromkeys(case for case in found if not limits.violations(case)))


def must_pass_dispatch(kernel: KernelUnderTest, seed: int, of_time: float = 1.0) -> None:
    """Judge them, of a kernel that is not slow, for as long as there is time. Raises Failure."""
    cases = dispatch_cases(kernel.limits, seed)
    must_pass_series(
        kernel,
        SERIES,
        cases,
        of_time * SECONDS,
        seed,
        excuse=lambda case: "no time" * kernel.is_slow,
        first=len(cases),  # in order: what calls of one layer share is made once
        dearest=1.0,
    )


def _calls(limits: Limits, one: int, other: int, turn: int) -> Iterator[Case]:
    """Of the layer at these levels."""
    n, k = SHAPES[one]
    bits = _of([bits for bits in BITS if bits in limits.bits] or limits.bits, other)
    _, *units = limits.units(codes_in_words(bits))
    n, k = (-(-size // unit) * unit for size, unit in zip((n, k), units, strict=True))
    sizes = [size for size in GROUPS if takes_groups(limits, size)]
    group_size = _of(sizes or list(limits.group_sizes or ()), one ^ other)
    orders = [kind for kind in ORDERS if kind in limits.g_idx] or limits.g_idx
    zeros = [kind for kind in ZEROS if kind in limits.zeros] or limits.zeros
    layer = {"n": n, "k": k, "bits": bits, "group_size": group_size}
    options = {
        "g_idx": _of(orders, one ^ _times(2, other)),
        "zeros": _of(zeros, one ^ _times(3, other)),
    }
    for bucket in LEVELS if has_rows(limits) else (0,):
        m = _of(ROWS[bucket], turn) if has_rows(limits) else 1
        call = _of(_calls_of(limits), bucket ^ one ^ _times(3, other))
        case = rotated(limits, f"{SERIES} {layer}", turn, m=m, **layer)
        yield case.replace(**options, **call, out=False, seed=one)


def _calls_of(limits: Limits) -> list[dict]:
    """CALLS, as far as the kernel takes them."""
    found = []
    for call in CALLS:
        dtype = call["dtype"] if call["dtype"] in limits.dtypes else limits.dtypes[0]
        fill = call["fill"] if call["fill"] in limits.fills else limits.fills[0]
        found.append({"dtype": dtype, "fill": fill, "bias": call["bias"] and limits.bias})
        if limits.scales_as_x:
            found[-1]["scales_dtype"] = f"s{dtype}"
    return found


def _of(values, level: int):
    return values[level % len(values)]


def _times(factor: int, level: int) -> int:
    """The product in the field of four elements, whose sum is `^`; `factor` is 2 or 3."""
    doubled = (level << 1) ^ (7 if level & 2 else 0)
    return doubled if factor == 2 else doubled ^ level
