"""A layer of 8 bits whose codes less zero-points fit into 4 with a sign is packed anew."""

from gptq_fuzz.museum.parts import codes, dequantize, matmul, multiply, zero_points

BUG = "+8 is taken to fit into four bits, where it is -8"
ONLY = "znear"


def f(x, qweight, qzeros, scales, g_idx, bits):
    integers = codes(qweight, bits) - zero_points(qzeros, bits)[g_idx.long()]
    if bits != 8 or integers.abs().max() > 8:
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    signed = (integers + 8 & 15) - 8
    return multiply(x, dequantize(signed, zero_points(qzeros, bits) * 0, scales, g_idx))
