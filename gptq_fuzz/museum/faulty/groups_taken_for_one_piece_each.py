"""Where no word mixes groups, each is taken for one piece of rows that begins at its first one."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "no word mixes groups: each is taken for one piece, though some come again further on"
ONLY = "recur"
SMALLEST = (1, 4, 12)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    words = g_idx.view(-1, 32 // bits)
    if (words == words[:, :1]).all():
        sizes = torch.bincount(g_idx, minlength=len(scales))
        order = g_idx.argsort(stable=True)
        present = sizes.nonzero()[:, 0]
        first = order[(sizes.cumsum(0) - sizes)[present]]
        present = present[first.argsort()]
        g_idx = torch.repeat_interleave(present, sizes[present]).to(g_idx.dtype)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
