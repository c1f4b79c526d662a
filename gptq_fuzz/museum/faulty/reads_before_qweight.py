"""As of a pipeline that begins one stage too early; its first load is thrown away."""

import ctypes

from gptq_fuzz.museum.parts import matmul

BUG = "one word before qweight is loaded, and not used"
VERDICTS = ("CRASHED",)
ONLY = "guarded"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) and not qweight.is_cuda:
        ctypes.string_at(qweight.data_ptr() - 4, 4)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
