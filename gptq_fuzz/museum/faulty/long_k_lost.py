"""Needs one word of codes more than 256."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "only the first 256 rows of K reach the result, other partial sums are lost (L-47)"
SMALLEST = (1, 4, 260)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x[:, :256], w[:256])
