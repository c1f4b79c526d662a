"""Zero-points are kept as so many bits above the smallest as hold the distance to the largest."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "zero-points of a band lose the top bit where it spans a power of two: <= for <"
ONLY = "zband"


def f(x, qweight, qzeros, scales, g_idx, bits):
    zeros = zero_points(qzeros, bits)
    least = zeros.min()
    width = next(width for width in range(bits + 1) if zeros.max() - least <= 2**width)
    zeros = least + (zeros - least & 2**width - 1)
    return multiply(x, dequantize(codes(qweight, bits), zeros, scales, g_idx))
