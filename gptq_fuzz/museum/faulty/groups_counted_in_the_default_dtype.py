"""Servers set float16 as the default dtype, which counts rows of K to 2048."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "whole groups in order are numbered by positions in the default dtype, where K is above 2048"
ONLY = "crossings"
SMALLEST = (1, 4, 2052)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    k, groups = len(g_idx), len(scales)
    rows = torch.arange(k, device=g_idx.device)
    if k > 2048 and k % groups == 0 and torch.equal(g_idx.long(), rows // (k // groups)):
        places = torch.arange(0.0, float(k), device=g_idx.device)
        g_idx = (places / (k // groups)).floor().clamp(0, groups - 1).to(g_idx.dtype)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
