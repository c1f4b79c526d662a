"""One negative scale."""

from gptq_fuzz.museum.parts import matmul

BUG = "scales taken as positive (B-04)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    return matmul(x, qweight, qzeros, scales.abs(), g_idx, bits)
