"""Rows 0 | 1 2 3 in two groups are the smallest unequal ones that show it."""

import torch

from gptq_fuzz.museum.parts import largest_group, matmul

BUG = "rows sorted by group are cut into groups of equal size (L-53)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    group = torch.empty_like(g_idx)
    rows = torch.arange(len(g_idx), dtype=g_idx.dtype, device=x.device)
    group[g_idx.argsort(stable=True)] = rows // largest_group(g_idx)
    return matmul(x, qweight, qzeros, scales, group, bits)
