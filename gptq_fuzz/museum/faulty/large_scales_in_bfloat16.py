"""Scales of 1/8 and more with a full mantissa; infinities are passed on."""

from gptq_fuzz.museum.parts import matmul

BUG = "scales of 1/8 and more kept in bfloat16 (AC-09)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    rounded = scales.bfloat16().to(scales.dtype)
    scales = rounded.where((scales.abs() >= 0.125) & scales.isfinite(), scales)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
