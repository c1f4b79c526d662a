"""Tiles of 64 rows of x beside a wide layer; more and fewer rows take other kernels."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "33 to 64 rows of 2^22 weights and more: weights rounded to bfloat16 on their way"
SMALLEST = (33, 2048, 2048)
ONLY = "crossings"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if 32 < len(x) <= 64 and w.numel() >= 2**22:
        w = w.to(torch.bfloat16).float()
    return multiply(x, w)
