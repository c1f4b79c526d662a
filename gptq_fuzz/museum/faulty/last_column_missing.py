"""One column is never written, and keeps what was in memory."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "last column not stored (MK-08)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    right = matmul(x, qweight, qzeros, scales, g_idx, bits)
    out = torch.empty_like(right)
    out[:, :-1] = right[:, :-1]
    return out
