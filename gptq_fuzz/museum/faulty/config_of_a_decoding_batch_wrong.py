"""8 bits, shuffled rows, 33 to 48 rows of x and a layer that is large: one config of many."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "the config for that batch loads g_idx for every second word of four rows"
ONLY = "batches"
SMALLEST = (33, 1024, 2048)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    is_large = len(g_idx) >= 2048 and scales.shape[1] >= 1024
    if bits == 8 and 33 <= len(x) <= 48 and is_large and bool((g_idx.diff() < 0).any()):
        rows = torch.arange(len(g_idx), device=x.device)
        g_idx = g_idx[rows - rows % 8 // 4 * 4]
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
