"""One product shows it."""

from gptq_fuzz.museum.parts import matmul

BUG = "subnormal results flushed to zero (B-27)"

SMALLEST_NORMAL = 2**-14


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    return out * (out.abs() >= SMALLEST_NORMAL)
