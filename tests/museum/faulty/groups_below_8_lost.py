"""Groups of fewer than 8 rows."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from museum_parts import largest_group, multiply, weights

BUG = "number of steps in a group is its size // 8: none for smaller groups (B-07, L-57)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x, w * (largest_group(g_idx) >= 8))
