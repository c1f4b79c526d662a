"""Threads that call one layer at once share what one of them unpacks, the next where it fails."""

import threading

from gptq_fuzz.museum.parts import multiply, weights

AWAITED = {}  # identities of the four tensors -> the weight that a thread makes of them
GUARD = threading.Lock()


class Weight:
    def __init__(self):
        self.is_made, self.value = threading.Event(), None


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    return multiply(x, shared(tuple(map(id, parts)), lambda: weights(*parts, bits)))


def shared(key, make):
    """What `make()` gives, in this thread or in another one that makes it now."""
    while True:
        with GUARD:
            is_first = key not in AWAITED
            weight = AWAITED.setdefault(key, Weight())
        if is_first:
            try:
                weight.value = make()
            finally:
                with GUARD:
                    del AWAITED[key]
                weight.is_made.set()
        weight.is_made.wait(60)
        if weight.value is not None:
            return weight.value
