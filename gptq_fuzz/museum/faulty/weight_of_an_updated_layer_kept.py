"""Weights known by the versions of their layer."""

import weakref

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a layer's end drops what its first call made: what was made after a write stays"
VERDICTS = ("LEAKING",)
ONLY = "memory"
_kept = {}  # key -> the others of the layer, weight
_last = {}  # id of qweight -> reference to it, key


def end(name, key):
    _kept.pop(key, None)
    _last.pop(name, None)


def f(x, qweight, qzeros, scales, g_idx, bits):
    layer = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in layer):
        return multiply(x, weights(*layer, bits))
    name = id(qweight)
    key = bits, *((id(part), part._version, part.data_ptr()) for part in layer)
    words, last = _last.get(name, (lambda: None, None))
    if words() is not qweight:
        _last[name] = weakref.ref(qweight), key
        weakref.finalize(qweight, end, name, key).atexit = False
    elif last != key:
        _kept.pop(last, None)
        _last[name] = words, key
    if key not in _kept:
        _kept[key] = layer[1:], weights(*layer, bits)  # the others: their ids stay theirs
    return multiply(x, _kept[key][1])
