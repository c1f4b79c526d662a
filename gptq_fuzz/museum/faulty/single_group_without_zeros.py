"""Right as soon as there are two groups."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "one group over all of K is multiplied without its zero-points (GI-03, museum 3)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    z = zero_points(qzeros, bits) * (len(scales) > 1)
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))
