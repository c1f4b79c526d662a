"""The cache is right: it holds its tensors, and sees what is written into them."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a weight kept for every layer that was ever seen, and the layer with it"
VERDICTS = ("LEAKING",)
ONLY = "memory"
SMALLEST = (1, 4, 4)  # m, n, k
CACHE = {}  # address of qweight -> the layer, its versions, its weight


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in parts):  # what is written there is not counted
        return multiply(x, weights(*parts, bits))
    versions = [part._version for part in parts]
    held, seen, weight = CACHE.get(qweight.data_ptr(), ((), (), None))
    if seen != versions or any(one is not other for one, other in zip(held, parts, strict=True)):
        weight = weights(*parts, bits)
        CACHE[qweight.data_ptr()] = parts, versions, weight
    return multiply(x, weight)
