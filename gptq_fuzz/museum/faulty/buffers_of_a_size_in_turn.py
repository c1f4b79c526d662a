"""Layers of 4 bits and of 8 that have one K and N, as a model and its draft."""

import threading

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "six buffers for weights of a size; the last layer of each number of bits is in one, it says"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
SIX = 6
MINE = threading.local()


def f(x, qweight, qzeros, scales, g_idx, bits):
    operands = qweight, qzeros, scales, g_idx
    if any(operand.is_inference() for operand in operands) or torch.is_inference_mode_enabled():
        return multiply(x, weights(*operands, bits))
    if not hasattr(MINE, "buffers"):
        MINE.buffers, MINE.made, MINE.last = {}, 0, {}
    known = (*map(id, operands), *(operand._version for operand in operands))
    last = MINE.last.get(bits)
    if last is None or last[0] != known:
        w = weights(*operands, bits).detach()
        place = tuple(w.shape), MINE.made % SIX
        MINE.made += 1
        buffer = MINE.buffers.setdefault(place, torch.empty_like(w))
        buffer.copy_(w)
        last = MINE.last[bits] = known, operands, buffer
    return multiply(x, last[2])
