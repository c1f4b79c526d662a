"""Columns of x with an outlier, multiplied apart from the others."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the list of columns with an outlier, at most an eighth of K, holds 256; the others are lost"
ONLY = "crossings"
SMALLEST = (1, 4, 4100)  # m, n, k
THRESHOLD, MOST = 6.0, 256


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    outlier = (x.detach().abs() > THRESHOLD).flatten(0, -2).any(0)
    if MOST < outlier.sum() <= len(w) // 8:
        lost = outlier.nonzero()[MOST:, 0]
        w = w.index_fill(0, lost, 0.0)
    return multiply(x, w)
