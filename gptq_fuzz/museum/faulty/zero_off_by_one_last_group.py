"""With one group, the only group is the last one."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "zero-points of the last group are one too large"


def f(x, qweight, qzeros, scales, g_idx, bits):
    z = zero_points(qzeros, bits)
    z[-1] = z[-1] + 1 & 2**bits - 1
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))
