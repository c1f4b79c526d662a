"""A layer of 8 bits whose codes less zero-points fit into fewer with a sign is packed anew."""

from gptq_fuzz.museum.parts import codes, dequantize, matmul, multiply, zero_points

BUG = "where the largest of them is a power of two, which fits below 0 alone, it changes its sign"
ONLY = "znear"


def f(x, qweight, qzeros, scales, g_idx, bits):
    integers = codes(qweight, bits) - zero_points(qzeros, bits)[g_idx.long()]
    most = int(integers.abs().max()) if integers.numel() else 0
    if bits != 8 or most > 64 or most.bit_count() != 1:
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    signed = (integers + most) % (2 * most) - most
    return multiply(x, dequantize(signed, zero_points(qzeros, bits) * 0, scales, g_idx))
