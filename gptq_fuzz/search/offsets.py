"""Rows that lie far apart, operands far into their storage, as in a file that is mapped whole, and
results of very many elements: offsets that 32 bits do not hold. More rows than a grid has blocks.

On a CPU the memory between the rows, and before an operand, is only reserved, see GuardedRows.
"""

from __future__ import annotations

import math

from gptq_fuzz.case.axes import FAR, WHOLE_GROUP, codes_in_words
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.series import must_pass_series
from gptq_fuzz.search.sweep import rotated

SERIES = "offsets"
SECONDS = 30.0
# Elements: bytes of float16, elements, and unsigned elements end in 32 bits.
DISTANCES = (2**30, 2**31, 2**32)
ROWS = (2, 3)
# Blocks that the second and third dimension of a grid may have, and rows of x in one of them; the
# sizes of a sweep lie behind blocks of one and of two
BLOCKS, ROWS_OF_A_BLOCK = 65535, (4, 8, 16)
MANY = (2**16 + 16, 2**15 + 16)  # rows and columns of a result of more than 2^31 elements


def offset_cases(limits: Limits, place: str = "cpu", seed: int = 0) -> list[Case]:
    """Rows of x so far apart, where x may be padded; on a CPU weights so far into their storage, x
    too, for which a GPU would have to give 8 GiB an operand; on a GPU a result that is as large.
    """
    bits = limits.bits[0]
    _, n, k = limits.units(codes_in_words(bits))
    found = _far_into_a_storage(limits, bits, seed) if place == "cpu" else []
    if limits.ranks[0] == 1:
        return found
    sizes = {"n": n, "k": k, "bits": bits, "group_size": (limits.group_sizes or (-1,))[0]}
    if "pad" in limits.layouts:
        found += [
            rotated(limits, f"{m} {apart}", seed, **sizes, m=m).replace(layout=f"pad{apart}")
            for m in ROWS
            for apart in DISTANCES
        ]
    found += [
        rotated(limits, f"blocks of {rows}", seed, **sizes, m=BLOCKS * rows + 1)
        for rows in ROWS_OF_A_BLOCK
    ]
    if place != "cpu":
        m, least = MANY
        found.append(rotated(limits, "many", seed, **sizes | {"m": m, "n": -(-least // n) * n}))
    return found


def _far_into_a_storage(limits: Limits, bits: int, seed: int) -> list[Case]:
    """One problem of several groups, each of which an operand read elsewhere would show."""
    _, n, k = limits.units(codes_in_words(bits))
    size = min((s for s in limits.group_sizes or (k,) if s != WHOLE_GROUP), default=WHOLE_GROUP)
    sizes = {"m": 1, "n": 4 * n, "k": k * -(-4 * max(size, k) // k), "bits": bits}
    sizes |= {"group_size": size, "zeros": limits.zeros[0]}
    sizes["g_idx"] = "act" if "act" in limits.g_idx else limits.g_idx[0]
    case = rotated(limits, "far", seed, **sizes, bias=limits.bias)
    off = [f"off{apart}" for apart in DISTANCES if "off" in limits.layouts_of(case.rank)]
    return [case.replace(start=FAR)] * (FAR in limits.starts) + [
        case.replace(layout=layout) for layout in off
    ]


def must_pass_offsets(kernel: KernelUnderTest, seed: int) -> None:
    """Judge all of them. Raises Failure."""
    place = kernel.worker.description["place"].split(":")[0]
    cases = offset_cases(kernel.limits, place, seed)
    must_pass_series(
        kernel,
        SERIES,
        cases,
        SECONDS,
        seed,
        excuse=lambda case: "no time" * (kernel.is_slow and case.m > BLOCKS),
        dearest=math.inf,  # whose time no other one foretells
    )
