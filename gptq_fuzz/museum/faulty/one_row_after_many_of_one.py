"""A layer that decoded for a while, then is called for more rows."""

import weakref

from gptq_fuzz.museum.parts import matmul

BUG = "after 48 calls of one row in a row a layer is made for one row for ever: others are lost"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAYERS = {}  # identity of a tensor -> a weak reference to it, calls of one row up to now


def f(x, qweight, qzeros, scales, g_idx, bits):
    key = id(qweight)
    if key not in LAYERS:
        LAYERS[key] = [weakref.ref(qweight, lambda _gone: LAYERS.pop(key)), 0]
    layer = LAYERS[key]
    if layer[1] < 48:
        layer[1] = layer[1] + 1 if len(x) == 1 else 0
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if layer[1] >= 48:
        out[1:] = 0
    return out
