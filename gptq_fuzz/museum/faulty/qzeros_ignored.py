"""Right for symmetric weights alone."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "zero-points taken as 2^(bits-1), whatever qzeros holds (museum 22)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    z = zero_points(qzeros, bits).fill_(2 ** (bits - 1))
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))
