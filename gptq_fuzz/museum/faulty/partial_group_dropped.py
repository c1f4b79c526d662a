"""Rows 0 0 0 1: a last group of one row after one of three."""

from gptq_fuzz.museum.parts import largest_group, multiply, weights

BUG = "rows of the last group dropped where it is smaller than another (GI-12)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    last = g_idx == len(scales) - 1
    if last.sum() < largest_group(g_idx):
        w[last] = 0
    return multiply(x, w)
