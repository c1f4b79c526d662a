"""Groups of fewer than 8 rows."""

from gptq_fuzz.museum.parts import largest_group, multiply, weights

BUG = "number of steps in a group is its size // 8: none for smaller groups (B-07, L-57)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x, w * (largest_group(g_idx) >= 8))
