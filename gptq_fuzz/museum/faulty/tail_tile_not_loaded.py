"""One row and one word of columns: threads outside leave at once."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "threads outside of M and N leave before they have loaded their share of the tile (MK-11)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if len(x) % 2 and qweight.shape[1] * bits // 32 % 2:
        w[-1] = 0
    return multiply(x, w)
