"""4 bits, where a code and its zero-point are 8 or more apart."""

from gptq_fuzz.museum.parts import codes, dequantize, matmul, multiply, zero_points

BUG = "code less zero-point kept in 4 bits with a sign: 8 becomes -8"
SMALLEST = (1, 8, 8)


def f(x, qweight, qzeros, scales, g_idx, bits):
    if bits != 4:
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    q, z = codes(qweight, bits), zero_points(qzeros, bits)
    difference = (q - z[g_idx.long()] + 8) % 16 - 8
    return multiply(x, dequantize(difference, 0 * z, scales, g_idx))
