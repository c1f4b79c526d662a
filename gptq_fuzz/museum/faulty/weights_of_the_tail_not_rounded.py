"""A product with a weight of a whole tile and one with a weight of the tail, in one call."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "up to 4 rows: weights of whole tiles of K are rounded to float16, those of the tail are not"
SMALLEST = (2, 4, 1028)  # m, n, k
ONLY = "roundings"
TILE, LONG = 64, 1024


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    whole = len(w) // TILE * TILE
    if len(x) <= 4 and len(w) >= LONG:
        w[:whole] = w[:whole].half().float()
    return multiply(x, w)
