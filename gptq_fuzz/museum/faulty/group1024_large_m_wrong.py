"""Needs a group of 1024 rows or more, and 9 rows of x."""

from gptq_fuzz.museum.parts import largest_group, multiply, weights

BUG = "second half of K dropped for groups of 1024 rows, above 8 rows of x (GI-13, museum 9)"
SMALLEST = (9, 4, 1024)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if len(x) > 8 and largest_group(g_idx) >= 1024:
        w[len(w) // 2 :] = 0
    return multiply(x, w)
