"""A first call that is broken off, a write, a call."""

import threading
import weakref

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a layer is unpacked in steps; what a broken call did of them stays, whatever is written then"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
BEGUN = threading.local()  # by the id of a layer's qweight, of each thread


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in parts):
        return multiply(x, weights(*parts, bits))
    refs, done = vars(BEGUN).pop(id(qweight), ((), []))
    if not refs or any(ref() is not part for ref, part in zip(refs, parts, strict=True)):
        refs, done = [weakref.ref(part) for part in parts], []
    vars(BEGUN)[id(qweight)] = refs, done
    half, in_word = -(-len(qweight) // 2), 32 // bits
    for first in range(len(done) * half, len(qweight), half):
        rows = slice(first * in_word, (first + half) * in_word)
        done.append(weights(qweight[first : first + half], qzeros, scales, g_idx[rows], bits))
    del vars(BEGUN)[id(qweight)]
    return multiply(x, torch.cat(done))
