"""One word of qweight written, which is neither in the first row nor in the last."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "weight cached by a sample of its words: one that is written in between is not seen"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
CACHE = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    sampled = [part.clone() for part in (qweight[0], qweight[-1], qzeros, scales, g_idx)]
    key = bits, qweight.shape, *(part.flatten().tolist() for part in sampled)
    if not CACHE or CACHE[0] is not qweight or CACHE[1] != key:
        CACHE[:] = qweight, key, weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x, CACHE[2])
