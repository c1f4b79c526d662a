"""Two values of K between the same powers of two, the larger block first."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "block of K kept by K rounded up to a power of two, rows after it lost (L-30, B-08)"
VERDICTS = ("STATE_LEAKED",)
AFTER_OTHERS = True

BLOCKS = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    k = len(g_idx)
    block = BLOCKS.setdefault(1 << (k - 1).bit_length(), k & -k)
    w = weights(qweight, qzeros, scales, g_idx, bits)
    w[k // block * block :] = 0
    return multiply(x, w)
