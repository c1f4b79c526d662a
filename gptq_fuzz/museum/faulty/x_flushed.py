"""One product shows it."""

from gptq_fuzz.museum.parts import matmul

BUG = "subnormal elements of x flushed to zero (B-27)"

SMALLEST_NORMAL = 2**-14


def f(x, qweight, qzeros, scales, g_idx, bits):
    x = x * (x.abs() >= SMALLEST_NORMAL)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
