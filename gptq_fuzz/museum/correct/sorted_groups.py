"""Rounds as float32_weights does, after sorting x's columns and the rows of W by group."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points


def f(x, qweight, qzeros, scales, g_idx, bits):
    order = g_idx.argsort()
    q, z = codes(qweight, bits)[order], zero_points(qzeros, bits)
    return multiply(x[:, order], dequantize(q, z, scales, g_idx[order]))
