"""The result is right; torch's random state has moved on."""

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))
from museum_parts import matmul

BUG = "a number drawn from torch's global generator"
VERDICTS = ("STATE_LEAKED",)
SMALLEST = (1, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if len(x):
        torch.rand(())
    return out
