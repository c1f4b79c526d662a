"""Two to seven rows of x."""

import ctypes

from gptq_fuzz.museum.parts import matmul

BUG = "path for fewer than 8 rows reads address 0 from the second row on (MK-12, museum 18)"
VERDICTS = ("CRASHED",)
SMALLEST = (2, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if 1 < len(x) < 8:
        ctypes.string_at(0)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
