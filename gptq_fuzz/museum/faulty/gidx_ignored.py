"""Right for the usual order with K = G * group_size."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "group of row k taken as k // ceil(K / G) (GI-08, B-05, museum 10)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    group_size = -(-len(g_idx) // len(scales))
    g_idx = torch.arange(len(g_idx), device=x.device) // group_size
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
