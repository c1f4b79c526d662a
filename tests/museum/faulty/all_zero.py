"""Nothing but zeros."""

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))
from museum_parts import matmul

BUG = "result is zeros (PF-03)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    return torch.zeros_like(matmul(x, qweight, qzeros, scales, g_idx, bits))
