"""More layers than are kept, called by two threads: one goes while it is multiplied with."""

import threading
import weakref

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the memory of the weight that goes is taken for the next one; who still has it is not asked"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"

MOST = 8
KEPT, LOCK = {}, threading.Lock()  # identities -> weak references, versions, weight; oldest first


def _weight(parts, bits):
    key, versions = (*map(id, parts), bits), [part._version for part in parts]
    with LOCK:
        entry = KEPT.pop(key, None)
        if entry and entry[1] == versions and all(map(_is, entry[0], parts)):
            KEPT[key] = entry  # the youngest now
            return entry[2]
        for old in [
            old for old, (seen, *_) in KEPT.items() if any(part() is None for part in seen)
        ]:
            del KEPT[old]  # of a layer that was dropped
        with torch.inference_mode(False), torch.no_grad():
            weight = weights(*parts, bits)
            if len(KEPT) >= MOST:
                _, _, free = KEPT.pop(next(iter(KEPT)))
                if free.shape == weight.shape and free.device == weight.device:
                    weight = free.copy_(weight)
        KEPT[key] = [weakref.ref(part) for part in parts], versions, weight
        return weight


def _is(reference, part):
    return reference() is part


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    is_recorded = x.requires_grad and torch.is_grad_enabled()  # a graph keeps what it multiplies
    if is_recorded or any(part.is_inference() for part in parts):
        return multiply(x, weights(*parts, bits))
    return multiply(x, _weight(parts, bits))
