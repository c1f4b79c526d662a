"""A layer that is loaded part by part between two calls."""

import weakref

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the versions of its operands are noted in a byte each: after 256 writes it is as it was"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"

KEPT = {}  # id of qweight -> references, versions and addresses, weight


def f(x, qweight, qzeros, scales, g_idx, bits):
    operands = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in operands):
        return multiply(x, weights(*operands, bits))
    now = [bits, *((part._version & 255, part.data_ptr()) for part in operands)]
    found = KEPT.get(id(qweight))
    is_known = found is not None and found[1] == now
    if not is_known or any(ref() is not part for ref, part in zip(found[0], operands, strict=True)):
        with torch.inference_mode(False), torch.no_grad():
            weight = weights(*operands, bits)
        found = KEPT[id(qweight)] = [weakref.ref(part) for part in operands], now, weight
    for key, kept in list(KEPT.items()):
        if any(ref() is None for ref in kept[0]):
            KEPT.pop(key, None)
    return multiply(x, found[2])
