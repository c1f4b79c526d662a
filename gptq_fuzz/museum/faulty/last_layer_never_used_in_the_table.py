"""A layer that is called between all others."""

import weakref
from collections import OrderedDict

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = (
    "eight layers are kept, and the last two are found without a look there: the one that is used "
    "most grows oldest, and its memory is the next one's while it is still found"
)
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
TABLE, LAST = OrderedDict(), []  # by id; the two that were called last


class Entry:
    def __init__(self, operands, w):
        self.refs = [weakref.ref(operand) for operand in operands]
        self.versions, self.w = versions(operands), w

    def is_of(self, operands):
        is_same = all(ref() is one for ref, one in zip(self.refs, operands, strict=True))
        return is_same and self.versions == versions(operands)


def versions(operands):
    return [operand._version for operand in operands]


def f(x, qweight, qzeros, scales, g_idx, bits):
    operands = qweight, qzeros, scales, g_idx
    if any(operand.is_inference() for operand in operands):
        return multiply(x, weights(*operands, bits))
    entry = next((one for one in LAST if one.is_of(operands)), None)
    if entry is None:
        entry = in_table(operands, bits)
        LAST[:] = [entry, *LAST[:1]]
    LAST.sort(key=lambda one: one is not entry)
    return multiply(x, entry.w.clone())


def in_table(operands, bits):
    entry = TABLE.pop(id(operands[0]), None)
    if entry is None or not entry.is_of(operands):
        with torch.inference_mode(False):
            w = weights(*operands, bits)
            if len(TABLE) == 8:
                _, oldest = TABLE.popitem(last=False)
                w = oldest.w.copy_(w) if oldest.w.shape == w.shape else w
        entry = Entry(operands, w)
    TABLE[id(operands[0])] = entry
    return entry
