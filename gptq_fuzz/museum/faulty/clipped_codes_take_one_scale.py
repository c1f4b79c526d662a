"""Symmetric layers whose codes go from 1 to the largest are taken for those of one scale a column."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "symmetric, codes from 1 on: the scale of a column is that of its first group"
ONLY = "ztern"


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, zeros = codes(qweight, bits), zero_points(qzeros, bits)
    if (zeros == 2 ** (bits - 1)).all() and q.min() == 1:
        scales = scales[:1].expand(scales.shape)
    return multiply(x, dequantize(q, zeros, scales, g_idx))
