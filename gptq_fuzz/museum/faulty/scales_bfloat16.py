"""One product shows it."""

from gptq_fuzz.museum.parts import matmul

BUG = "scales rounded to bfloat16"


def f(x, qweight, qzeros, scales, g_idx, bits):
    return matmul(x, qweight, qzeros, scales.bfloat16(), g_idx, bits)
