"""A call in which an operator raises, again and again."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a slot of scratch is given back at the end of a call, and never by one that is broken off"
VERDICTS = ("LEAKING",)
ONLY = "memory"
FREE, BUSY = [], []


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not FREE:
        with torch.inference_mode(False):
            FREE.append(torch.empty(64, device="cpu"))
    BUSY.append(FREE.pop())
    out = multiply(x, weights(qweight, qzeros, scales, g_idx, bits))
    FREE.append(BUSY.pop())
    return out
