"""The weights of the last 128 layers, kept with their tensors; what was written is made anew."""

from collections import OrderedDict

from gptq_fuzz.museum.parts import multiply, weights

MOST = 128
CACHE = OrderedDict()  # names of the tensors, which live here -> them, versions, weight


def cached(x, parts, bits, name):
    """x [M, K] times the weight of `parts`; tensors of one `name` are taken for the same."""
    if any(part.is_inference() for part in parts):  # what is written there is not counted
        return multiply(x, weights(*parts, bits))
    key, versions = tuple(map(name, parts)), [part._version for part in parts]
    _, seen, weight = CACHE.pop(key, ((), (), None))
    if seen != versions:
        weight = weights(*parts, bits)
    CACHE[key] = parts, versions, weight
    if len(CACHE) > MOST:
        CACHE.popitem(last=False)
    return multiply(x, weight)


def f(x, qweight, qzeros, scales, g_idx, bits):
    return cached(x, (qweight, qzeros, scales, g_idx), bits, id)
