"""One product shows it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from museum_parts import matmul

BUG = "subnormal elements of x flushed to zero (B-27)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k

SMALLEST_NORMAL = 2**-14


def f(x, qweight, qzeros, scales, g_idx, bits):
    x = x * (x.abs() >= SMALLEST_NORMAL)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
