"""Scratch holds 2^24 weights; a larger layer is dequantised and multiplied in panels."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "more than 8 rows, more than 2^24 weights: sums of panels are rounded before they are added"
SMALLEST = (9, 4092, 4104)  # m, n, k
ONLY = "crossings"
PANEL = 2**24  # weights


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if len(x) <= 8 or w.numel() <= PANEL:
        return multiply(x, w)
    rows = PANEL // w.shape[1]
    return sum(multiply(x[:, at : at + rows], w[at : at + rows]) for at in range(0, len(w), rows))
