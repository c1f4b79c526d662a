"""One x for two layers whose rows are in other orders, as for q, k and v of attention."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "x sorted by g_idx once, known by its version: the next layer gets the order of the last"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAST = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    order = g_idx.long().argsort(stable=True)
    if not LAST or LAST[0] is not x or LAST[1] != x._version:
        LAST[:] = x, x._version, x[:, order]
    return multiply(LAST[2], weights(qweight, qzeros, scales, g_idx, bits)[order])
