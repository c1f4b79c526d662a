"""Needs more columns than the vocabularies of most models have."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "pairs of columns are counted in 16 bits"
ONLY = "N"
SMALLEST = (1, 131076, 4)  # m, n, k
MOST = 2**17


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    return out[:, torch.arange(out.shape[1], device=x.device) % MOST]
