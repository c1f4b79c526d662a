"""Rows of K = 4 in two groups can be out of order."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "unsorted g_idx: the result goes into a temporary, zeros come back (GI-08, museum 10)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    unsorted = (g_idx[1:] < g_idx[:-1]).any()
    return torch.zeros_like(out) if unsorted else out
