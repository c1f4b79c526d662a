"""The layers of a mixture of experts are parts of one tensor."""

from collections import OrderedDict

from gptq_fuzz.museum.parts import multiply, weights

BUG = "layers are known by their storages, which parts of one tensor share: all get one weight"
VERDICTS = ("STATE_LEAKED", "WRONG")
ONLY = "history"
MOST = 128
CACHE = OrderedDict()  # addresses of storages -> the tensors, which live here, versions, weight


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in parts):  # what is written there is not counted
        return multiply(x, weights(*parts, bits))
    key = tuple((part.untyped_storage().data_ptr(), part.shape, part.stride()) for part in parts)
    versions = [part._version for part in parts]
    _, seen, weight = CACHE.pop(key, ((), (), None))
    if seen != versions:
        weight = weights(*parts, bits)
    CACHE[key] = parts, versions, weight
    if len(CACHE) > MOST:
        CACHE.popitem(last=False)
    return multiply(x, weight)
