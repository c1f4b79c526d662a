"""Scales of which every second element counts."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "column stride of the scales taken as 1 (L-03, LY-02)"


def matmul(*, scales, **others):
    if scales.stride(1) != 1:
        scales = scales.as_strided(scales.shape, (scales.stride(0), 1), scales.storage_offset())
        scales = scales.nan_to_num(0, 0, 0)
    return TORCH.matmul(scales=scales, **others)


f = Backend(
    "scales_read_as_contiguous",
    Limits(strided=("sstr",), bad=(), refuses_outside=False),
    matmul=matmul,
)
