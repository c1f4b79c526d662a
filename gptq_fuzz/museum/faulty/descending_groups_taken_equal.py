"""Groups of unequal size in descending order: no g_idx is drawn that way."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "descending g_idx taken as equal groups reversed (L-53, B-05)"
ONLY = "rows permuted"


def f(x, qweight, qzeros, scales, g_idx, bits):
    steps = g_idx[1:] - g_idx[:-1]
    if (steps <= 0).all() and (steps < 0).any():
        rows = torch.arange(len(g_idx), device=x.device)
        g_idx = (rows // int((g_idx == 0).sum().clamp(min=1))).flip(0)
    return matmul(x, qweight, qzeros, scales, g_idx.clamp(max=len(scales) - 1), bits)
