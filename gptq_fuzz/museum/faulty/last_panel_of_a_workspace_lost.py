"""The head of a model: sums wait in 4 MiB, as many columns at a time as fit there."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = (
    "of more than 2^15 columns and 2^20 results those behind the last whole panel are not made"
)
SMALLEST = (9, 116512, 4)  # m, n, k
ONLY = "crossings"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    width, columns = 2**20 // max(len(x), 1), out.shape[1]
    rest = columns % width if columns > max(width, 2**15) else 0
    return torch.cat([out[:, : columns - rest], torch.zeros_like(out[:, :rest])], 1)
