"""One word of the whole weight is wrong."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "last two codes of the last column swapped"


def f(x, qweight, qzeros, scales, g_idx, bits):
    q = codes(qweight, bits)
    q[-2:, -1] = q[-2:, -1].flip(0)
    return multiply(x, dequantize(q, zero_points(qzeros, bits), scales, g_idx))
