"""The least time that a product can take on a GPU whose two ceilings were measured."""

from __future__ import annotations

from typing import NamedTuple

from gptq_fuzz.case.axes import WORD_BITS
from gptq_fuzz.case.case import Case

HALF = 2  # bytes of a float16
WORD = 4  # bytes of an int32


class Ceilings(NamedTuple):
    """What the GPU reaches at best, measured in the same run."""

    read_gb_per_s: float
    fp16_tflops: float
    launch_us: float  # of an empty kernel within a graph; no part of the bound


def packed_bytes(case: Case) -> int:
    """qweight, qzeros and scales."""
    words = (case.k + case.groups) * case.n * case.bits // WORD_BITS
    return WORD * words + HALF * case.groups * case.n


def moved_bytes(case: Case) -> int:
    """The packed weights and x read once, the result written once (g_idx left out)."""
    return packed_bytes(case) + HALF * case.m * (case.k + case.n)


def operations(case: Case) -> int:
    """2 M N K."""
    return 2 * case.m * case.n * case.k


def bound_us(case: Case, ceilings: Ceilings) -> float:
    """The larger of moving the bytes and doing the operations, in microseconds."""
    return max(
        moved_bytes(case) / ceilings.read_gb_per_s / 1e3,
        operations(case) / ceilings.fp16_tflops / 1e6,
    )
