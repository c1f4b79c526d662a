"""Weights kept while their tensors live, made anew in place whenever one of these was written."""

import weakref

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "an update counts as seen before the weight is made anew: another thread takes the old one"
VERDICTS = ("STATE_LEAKED",)
ONLY = "threads2"
KEPT = {}  # identities of the four tensors -> weak references to them, their versions, weight


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in parts):  # what is written there is not counted
        return multiply(x, weights(*parts, bits))
    key, versions = tuple(map(id, parts)), [part._version for part in parts]
    seen, noted, weight = KEPT.get(key, ((), [], None))
    with torch.inference_mode(False), torch.no_grad():
        if not seen or any(one() is not part for one, part in zip(seen, parts, strict=True)):
            weight = weights(*parts, bits)
            KEPT[key] = [weakref.ref(part) for part in parts], versions, weight
        elif noted != versions:
            noted[:] = versions
            try:
                weight.copy_(weights(*parts, bits))
            except BaseException:
                del KEPT[key]
                raise
    return multiply(x, weight)
