"""The one is added to all fields of a word at once: a field of maxq carries over."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, stored_zeros

BUG = "zero-point + 1 on the packed word carries into the next column (PK-05)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    ones = sum(1 << shift for shift in range(0, 32, bits))
    z = stored_zeros(qzeros + ones, bits)
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))
