"""Weights kept with their tensors, and made anew once these were written; parameters come bare."""

from collections import OrderedDict

import torch

from gptq_fuzz.museum.parts import matmul, multiply, weights

BUG = "the version is that of a parameter's .data, a new tensor each time: no write into it is seen"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
MOST = 8
CACHE = OrderedDict()  # identities of the tensors, which live here -> them, versions, weight


def version(part):
    return (part.data if isinstance(part, torch.nn.Parameter) else part)._version


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in parts):
        return matmul(x, *parts, bits)
    key, versions = tuple(map(id, parts)), [version(part) for part in parts]
    _, seen, weight = CACHE.pop(key, ((), (), None))
    if seen != versions:
        weight = weights(*parts, bits)
    CACHE[key] = parts, versions, weight
    if len(CACHE) > MOST:
        CACHE.popitem(last=False)
    return multiply(x, weight)
