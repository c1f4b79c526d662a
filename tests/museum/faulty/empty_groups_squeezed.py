"""A group without rows before one with rows."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from museum_parts import matmul

BUG = "groups counted by those that have rows (B-05)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    _, counted = g_idx.unique(return_inverse=True)
    return matmul(x, qweight, qzeros, scales, counted, bits)
