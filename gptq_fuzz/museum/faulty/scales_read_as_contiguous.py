"""Scales of which every second element counts."""

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits

BUG = "column stride of the scales taken as 1 (L-03, LY-02)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k


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
