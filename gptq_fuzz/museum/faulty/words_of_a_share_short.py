"""Columns of a large layer shared out, in whole words."""

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "of each of 12 shares of a large layer's columns the last word has the one before's zeros"
ONLY = "crossings"
SMALLEST = (1, 4096, 1024)  # m, n, k
WORKERS = 12


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(g_idx) >= 1024 and scales.shape[1] >= 4096:
        words = qzeros.shape[1]
        share = -(-words // WORKERS)
        source = torch.arange(words, device=qzeros.device)
        source[share - 1 : words - 1 : share] -= 1
        qzeros = qzeros[:, source]
    return multiply(x, dequantize(codes(qweight, bits), zero_points(qzeros, bits), scales, g_idx))
