"""Scales replaced by others that lie where they did, as after an update of a layer."""

import weakref

from gptq_fuzz.museum.parts import multiply, weights

BUG = (
    "a living layer's weight known by addresses and versions: new scales may lie where old ones did"
)
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAYERS = {}  # identity of a qweight -> a weak reference to it, what it was known by, its weight


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in parts):  # what is written there is not counted
        return multiply(x, weights(*parts, bits))
    key, known = id(qweight), (bits, *((part.data_ptr(), part._version) for part in parts))
    layer, seen, weight = LAYERS.get(key, (None, None, None))
    if layer is None or layer() is not qweight or seen != known:
        weight = weights(*parts, bits)
        LAYERS[key] = weakref.ref(qweight, lambda gone: _forget(key, gone)), known, weight
    return multiply(x, weight)


def _forget(key, gone):
    if LAYERS.get(key, (None,))[0] is gone:
        del LAYERS[key]
