"""Threads that call one layer at once share what the first of them unpacks."""

import threading

from gptq_fuzz.museum.parts import multiply, weights

BUG = "who waits for another thread's weight goes without one where that thread was broken off"
VERDICTS = ("RAISED",)
ONLY = "threads2"
AWAITED = {}  # identities of the four tensors -> the weight that a thread makes of them
GUARD = threading.Lock()


class Weight:
    def __init__(self):
        self.is_made, self.value = threading.Event(), None


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    key = tuple(map(id, parts))
    with GUARD:
        is_first = key not in AWAITED
        weight = AWAITED.setdefault(key, Weight())
    if is_first:
        try:
            weight.value = weights(*parts, bits)
        finally:
            with GUARD:
                del AWAITED[key]
            weight.is_made.set()
    weight.is_made.wait(60)
    if weight.value is None:
        raise RuntimeError("the layer has no weight")
    return multiply(x, weight.value)
