"""Nothing but zeros."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "result is zeros (PF-03)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    return torch.zeros_like(matmul(x, qweight, qzeros, scales, g_idx, bits))
