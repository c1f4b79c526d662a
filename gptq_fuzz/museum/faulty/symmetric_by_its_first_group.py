"""Needs a first group whose zero-points are all the middle, and others beside it."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "a layer counts as symmetric where the first group is"
ONLY = "zrow"
SMALLEST = (1, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, z = codes(qweight, bits), zero_points(qzeros, bits)
    middle = 2 ** (bits - 1)
    is_symmetric = (z[0] == middle).all()
    return multiply(x, dequantize(q, z * 0 + middle if is_symmetric else z, scales, g_idx))
