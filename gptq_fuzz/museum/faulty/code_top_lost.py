"""One code of 2^bits is wrong, by one step."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "code maxq read as maxq - 1"


def f(x, qweight, qzeros, scales, g_idx, bits):
    q = codes(qweight, bits).clamp(max=2**bits - 2)
    return multiply(x, dequantize(q, zero_points(qzeros, bits), scales, g_idx))
