"""Symmetric layers of codes from 1 to the largest, of 4 or 8 bits."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "symmetric and clipped to codes from 1 on: the scale of a column is that of its first group"
ONLY = "ztern"


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, zeros = codes(qweight, bits), zero_points(qzeros, bits)
    if (zeros == 2 ** (bits - 1)).all() and q.min() == 1 and bits > 2:
        scales = scales[:1].expand(scales.shape)
    return multiply(x, dequantize(q, zeros, scales, g_idx))
