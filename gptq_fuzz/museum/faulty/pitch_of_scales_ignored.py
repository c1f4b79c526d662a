"""Scales cut out of those of three layers that are joined: columns side by side, rows apart."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "operands whose columns lie side by side are taken to have rows of N columns"
ONLY = "scut"
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, scales, **others):
    if scales.stride(-1) == 1:
        scales = scales.as_strided(scales.shape, (scales.shape[1], 1))
    return TORCH.matmul(scales=scales, **others)


limits = Limits(strided=("sstr",), bad=(), refuses_outside=False)
f = Backend("pitch_of_scales_ignored", limits, TORCH.numerics, matmul)
