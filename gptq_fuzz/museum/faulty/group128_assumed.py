"""K = 4 is one assumed group, and two or more real ones."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "group of row k taken as k // 128 (museum 8)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    g_idx = torch.arange(len(g_idx), device=x.device) // 128
    return matmul(x, qweight, qzeros, scales, g_idx.clamp(max=len(scales) - 1), bits)
