"""Shuffled groups of 32 rows, and 64 rows of K."""

import ctypes

from gptq_fuzz.museum.parts import largest_group, matmul

BUG = "groups of 32 in activation order on a part of K: illegal access (GI-10, museum 12)"
VERDICTS = ("CRASHED",)
SMALLEST = (1, 4, 64)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    unsorted = (g_idx[1:] < g_idx[:-1]).any()
    if len(x) and unsorted and largest_group(g_idx) == 32 and len(g_idx) >= 64:
        ctypes.string_at(0)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
