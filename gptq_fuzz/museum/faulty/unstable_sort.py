"""Two rows of one group: the sorts of x and of the weight order them differently."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "x and the weight are sorted by group apart, rows of one group in different order (GI-11)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    order = g_idx.argsort(stable=True)
    other = len(g_idx) - 1 - g_idx.flip(0).argsort(stable=True)
    return multiply(x[:, order], w[other])
