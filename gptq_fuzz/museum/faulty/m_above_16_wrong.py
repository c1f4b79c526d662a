"""Row 16 is the first wrong one."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "rows from 16 on repeat the rows of the first tile (BF-10)"
SMALLEST = (17, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    return out[torch.arange(len(out), device=x.device) % 16]
