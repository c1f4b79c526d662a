"""Weights kept by the thread that made them."""

import threading

from torch.utils.weak import WeakIdRef

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a layer's end clears the table of the thread that drops it, not of those that called it"
VERDICTS = ("LEAKING",)
ONLY = "memory"
OWN = threading.local()


def table():
    return OWN.__dict__.setdefault("kept", {})


def f(x, qweight, qzeros, scales, g_idx, bits):
    layer = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in layer):
        return multiply(x, weights(*layer, bits))
    now = [(part._version, part.data_ptr(), id(part)) for part in layer]
    key = WeakIdRef(qweight, lambda gone: table().pop(gone, None))
    seen, w = table().get(key, (None, None))
    if seen != now:
        w = weights(*layer, bits)
        table().pop(key, None)
        table()[key] = now, w
    return multiply(x, w)
