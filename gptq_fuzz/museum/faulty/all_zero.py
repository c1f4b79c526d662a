"""Nothing but zeros."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "result is zeros (PF-03)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    return torch.zeros_like(matmul(x, qweight, qzeros, scales, g_idx, bits))
