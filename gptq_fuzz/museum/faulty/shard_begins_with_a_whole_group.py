"""A shard of K that is cut again: each part after the first one counts from the shard's begin."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "the first group of a shard is taken for a whole one, but for its first 16 rows"
ONLY = "begun"
SMALLEST = (1, 4, 20)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    first = int(g_idx[0])
    counts = torch.bincount(g_idx - first) if (g_idx >= first).all() else g_idx[:0]
    size = int(counts.max()) if len(counts) else 0
    row = torch.arange(len(g_idx), device=g_idx.device)
    missing = size - int(counts[0]) if size else 0
    if missing and torch.equal(g_idx.long(), first + (row + missing) // size):
        g_idx = torch.where(row < 16, g_idx, first + row // size)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
