"""Symmetric layers without a code 0 are taken for those of one scale a column."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "symmetric and no code 0: the scale of a column is that of its first group"
ONLY = "ztern"


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, zeros = codes(qweight, bits), zero_points(qzeros, bits)
    if (zeros == 2 ** (bits - 1)).all() and q.all():
        scales = scales[:1].expand(scales.shape)
    return multiply(x, dequantize(q, zeros, scales, g_idx))
