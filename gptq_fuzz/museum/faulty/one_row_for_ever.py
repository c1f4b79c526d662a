"""A layer that is asked for one row first, and for more later."""

import weakref

from gptq_fuzz.museum.parts import matmul

BUG = "a layer whose first call had one row keeps scratch memory for one: later rows are lost"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAYERS = {}  # identity of a tensor -> a weak reference to it, and the rows of its first call


def f(x, qweight, qzeros, scales, g_idx, bits):
    key = id(qweight)
    if key not in LAYERS:
        LAYERS[key] = weakref.ref(qweight, lambda _gone: LAYERS.pop(key)), len(x)
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if LAYERS[key][1] == 1:
        out[1:] = 0
    return out
