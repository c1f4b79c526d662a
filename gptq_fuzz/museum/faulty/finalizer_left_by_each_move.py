"""One layer that is moved again and again, as where it is taken off the GPU and put back."""

import weakref

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a note of the layer's end holds its weight, and another one is made at each of its places"
VERDICTS = ("LEAKING",)
ONLY = "memory"
PLACES = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    key = id(qweight)
    if not qweight.is_inference() and PLACES.get(key) != qweight.data_ptr():
        PLACES[key] = qweight.data_ptr()
        weakref.finalize(qweight, lambda _: PLACES.pop(key, None), w.numpy(force=True))
    return multiply(x, w)
