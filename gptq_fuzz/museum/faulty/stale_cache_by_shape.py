"""Two calls of one shape with other weights show it."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "weights cached by shape (B-22)"
VERDICTS = ("STATE_LEAKED", "WRONG")

CACHE = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    key = bits, qweight.shape, scales.shape, x.device
    if key not in CACHE:
        CACHE[key] = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x, CACHE[key])
