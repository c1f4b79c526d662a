"""Shuffled rows, and a group without any."""

from gptq_fuzz.museum.parts import matmul

BUG = "rows are sorted by group, and the groups that rows have are numbered from 0 on"
SMALLEST = (1, 4, 4)  # m, n, k
ONLY = "holes"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if (g_idx[1:] < g_idx[:-1]).any():
        g_idx = g_idx.unique(return_inverse=True)[1]
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
