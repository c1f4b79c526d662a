"""Two groups of three rows and more; a row inside each belongs to the other."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "g_idx counts as in order where the first and last rows of groups are where order has them"
SMALLEST = (1, 4, 8)  # m, n, k
ONLY = "near"


def f(x, qweight, qzeros, scales, g_idx, bits):
    ordered = g_idx.sort()[0]
    starts = torch.cat([ordered[:1] * 0 - 1, ordered]).diff() != 0
    ends = torch.cat([ordered, ordered[-1:] * 0 - 1]).diff() != 0
    looked_at = starts | ends
    if torch.equal(g_idx[looked_at], ordered[looked_at]):
        g_idx = ordered
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
