"""Needs 8 bits and the rows at which another kernel takes over."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "8-bit codes lose their top bit from 128 rows on (PK-17)"
SMALLEST = (128, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    q = codes(qweight, bits)
    if bits == 8 and len(x) >= 128:
        q = q & 127
    return multiply(x, dequantize(q, zero_points(qzeros, bits), scales, g_idx))
