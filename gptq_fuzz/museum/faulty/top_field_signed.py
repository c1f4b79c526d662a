"""The shift keeps the sign, and nothing masks it off."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "last field of a word read as a signed number"


def f(x, qweight, qzeros, scales, g_idx, bits):
    q = codes(qweight, bits)
    top = q[32 // bits - 1 :: 32 // bits]
    top[top >= 2 ** (bits - 1)] -= 2**bits
    return multiply(x, dequantize(q, zero_points(qzeros, bits), scales, g_idx))
