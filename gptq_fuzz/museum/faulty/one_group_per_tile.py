"""K = 4 is one tile, whose first row decides for all."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "one group for a whole K tile of 64 (GI-04, GI-07, museum 1, museum 2)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    first = torch.arange(len(g_idx), device=x.device) // 64 * 64
    return matmul(x, qweight, qzeros, scales, g_idx[first], bits)
