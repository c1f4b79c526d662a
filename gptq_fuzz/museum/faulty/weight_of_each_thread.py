"""Threads that have a copy of a layer each, as for the memory that is near them."""

import threading
import weakref

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "which state of the layer its copies are of is noted once for all threads"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"

KEPT = {}  # id of qweight -> references to all, what they were, thread -> weight


def are(references, operands):
    return all(ref() is part for ref, part in zip(references, operands, strict=True))


def f(x, qweight, qzeros, scales, g_idx, bits):
    operands = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in operands):
        return multiply(x, weights(*operands, bits))
    now = [bits, *((part._version, part.data_ptr()) for part in operands)]
    found = KEPT.get(id(qweight))
    if found is None or any(
        ref() is not part for ref, part in zip(found[0], operands, strict=True)
    ):
        copies = weakref.WeakKeyDictionary()
        found = KEPT[id(qweight)] = [[weakref.ref(part) for part in operands], None, copies]
    thread = threading.current_thread()
    weight = found[2].get(thread)
    if weight is None or found[1] != now:
        with torch.inference_mode(False), torch.no_grad():
            weight = weights(*operands, bits)
        found[1], found[2][thread] = now, weight
    for key, kept in list(KEPT.items()):
        if any(ref() is None for ref in kept[0]):
            KEPT.pop(key, None)
    return multiply(x, weight)
