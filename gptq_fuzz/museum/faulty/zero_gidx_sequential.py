"""Needs every row in group 0 of two or more groups."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "g_idx of zeros taken as absent, that is sequential (GI-02, L-69)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not g_idx.any():
        group_size = -(-len(g_idx) // len(scales))
        g_idx = torch.arange(len(g_idx), device=x.device) // group_size
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
