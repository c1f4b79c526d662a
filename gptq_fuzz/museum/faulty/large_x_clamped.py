"""x above 8192; infinities are passed on."""

from gptq_fuzz.museum.parts import matmul

BUG = "finite x clamped at 2^13"
ONLY = "wide"

LARGEST = 2.0**13


def f(x, qweight, qzeros, scales, g_idx, bits):
    x = x.clamp(-LARGEST, LARGEST).where(x.isfinite(), x)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
