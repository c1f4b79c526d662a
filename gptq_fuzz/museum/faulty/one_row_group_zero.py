"""The path for one row of x; needs two groups."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "a single row of x is multiplied with the scales of group 0 alone (GI-06)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) == 1:
        g_idx = torch.zeros_like(g_idx)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
