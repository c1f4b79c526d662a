"""K = N = 4."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a square weight is taken for its transpose (GI-14)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x, w.t() if w.shape[0] == w.shape[1] else w)
