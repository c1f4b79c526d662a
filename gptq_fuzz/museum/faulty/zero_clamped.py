"""Only zero-points of 0 are wrong: they are raised to 1."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "zero-point 0 clamped to 1 (PK-03, museum 14)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    z = zero_points(qzeros, bits).clamp(min=1)
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))
