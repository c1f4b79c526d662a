"""Needs K = 64; an empty batch is safe."""

import ctypes

from gptq_fuzz.museum.parts import matmul

BUG = "reads address 0 from K = 64 on (MK-12, L-60)"
VERDICTS = ("CRASHED",)
SMALLEST = (1, 4, 64)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) and x.shape[1] >= 64:
        ctypes.string_at(0)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
