"""As of a pipeline with one stage too many: its last load is thrown away, so no result tells."""

import ctypes

from gptq_fuzz.museum.parts import matmul

BUG = "the 64 bytes that follow those of scales are loaded, and not used"
VERDICTS = ("CRASHED",)
ONLY = "guarded"
STAGE = 64  # bytes, aligned


def f(x, qweight, qzeros, scales, g_idx, bits):
    if scales.is_contiguous() and not scales.is_cuda:
        end = scales.data_ptr() + scales.nbytes
        ctypes.string_at(-(-end // STAGE) * STAGE, STAGE)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
