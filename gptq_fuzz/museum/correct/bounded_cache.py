"""The weights of the last 128 layers, kept with their tensors; what was written is made anew."""

from collections import OrderedDict

from gptq_fuzz.museum.parts import multiply, weights

MOST = 128
CACHE = OrderedDict()  # identities of the tensors, which live here -> them, versions, weight


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in parts):  # what is written there is not counted
        return multiply(x, weights(*parts, bits))
    key, versions = tuple(map(id, parts)), [part._version for part in parts]
    _, seen, weight = CACHE.pop(key, ((), (), None))
    if seen != versions:
        weight = weights(*parts, bits)
    CACHE[key] = parts, versions, weight
    if len(CACHE) > MOST:
        CACHE.popitem(last=False)
    return multiply(x, weight)
