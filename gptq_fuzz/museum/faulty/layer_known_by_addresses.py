"""A layer dropped, and another one of its shapes loaded into the same memory."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "weights of eight layers cached by addresses, versions and shapes, which outlive the layers"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
CACHE = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    key = bits, *((part.data_ptr(), part._version, part.shape) for part in parts)
    if key not in CACHE:
        if len(CACHE) == 8:
            del CACHE[next(iter(CACHE))]
        CACHE[key] = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x, CACHE[key])
