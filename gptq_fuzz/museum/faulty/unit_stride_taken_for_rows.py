"""Scales that are transposed: the stride of 1 is that of the other dimension."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "an operand that has a stride of 1 is read row by row, whichever dimension has it"
ONLY = "sxt"
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, scales, **others):
    if scales.stride(0) == 1 and min(scales.shape) > 1:
        scales = scales.as_strided(scales.shape, (scales.shape[1], 1))
    return TORCH.matmul(scales=scales, **others)


limits = Limits(strided=("sstr",), bad=(), refuses_outside=False)
f = Backend("unit_stride_taken_for_rows", limits, TORCH.numerics, matmul)
