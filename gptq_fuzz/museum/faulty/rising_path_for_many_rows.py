"""Needs a row in each group, in falling order, and 256 rows of x: three axes at a time."""

from gptq_fuzz.museum.parts import matmul

BUG = "from 256 rows on, groups of one row each that fall are read as if they rose"
ONLY = "triples"
SMALLEST = (256, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    falls = (g_idx[1:] < g_idx[:-1]).all()
    if len(x) >= 256 and len(g_idx) == len(scales) and falls:
        g_idx = g_idx.flip(0)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
