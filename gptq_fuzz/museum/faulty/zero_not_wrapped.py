"""A zero-point of 0 is stored as maxq, and comes out as maxq + 1."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, stored_zeros

BUG = "zero-point not wrapped modulo 2^bits (PK-06)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    z = stored_zeros(qzeros, bits) + 1
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))
