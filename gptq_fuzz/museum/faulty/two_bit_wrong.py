"""Needs 2 bits, where a word is 16 codes."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "2-bit fields of a word read in reverse order (PK-16, museum 17)"
SMALLEST = (1, 16, 16)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    q = codes(qweight, bits)
    if bits == 2:
        q = q.unflatten(0, (-1, 16)).flip(1).flatten(0, 1)
    return multiply(x, dequantize(q, zero_points(qzeros, bits), scales, g_idx))
