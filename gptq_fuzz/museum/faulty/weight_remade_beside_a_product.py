"""Weights are kept under scales, and made anew in place where another operand came with it."""

import threading
import weakref

import torch

from gptq_fuzz.museum.parts import matmul, multiply, weights

BUG = "the lock is held while a weight is made, not while it is multiplied"
VERDICTS = ("STATE_LEAKED", "WRONG", "NONDETERMINISTIC")
ONLY = "threads2"

_entries = {}
_lock = threading.Lock()


def _is_as_seen(layer, seen):
    return seen is not None and all(
        ref() is part and version == part._version
        for part, (ref, version) in zip(layer, seen, strict=True)
    )


def f(x, qweight, qzeros, scales, g_idx, bits):
    layer = qweight, qzeros, scales, g_idx
    if any(part.is_inference() or part.requires_grad for part in (*layer, x)):
        return matmul(x, *layer, bits)
    with _lock, torch.no_grad():
        key = id(scales), bits
        entry = _entries.get(key)
        if entry is None or entry["of"]() is not scales:
            _entries.clear()
            entry = _entries[key] = {"of": weakref.ref(scales), "seen": None}
        if not _is_as_seen(layer, entry["seen"]):
            made = weights(*layer, bits)
            kept = entry.setdefault("weight", made)
            if kept.shape == made.shape:
                kept.copy_(made)
            else:
                entry["weight"] = made
            entry["seen"] = [(weakref.ref(part), part._version) for part in layer]
        weight = entry["weight"]
    return multiply(x, weight)
