"""Scratch memory of each layer and thread, made by the first call that needs it."""

import threading

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "scratch memory made in inference mode cannot be written by a later call outside"
VERDICTS = ("RAISED",)
ONLY = "infer"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if not hasattr(qweight, "scratch"):
        qweight.scratch = threading.local()
    buffer = qweight.scratch.__dict__.setdefault("weight", torch.empty_like(w))
    return multiply(x, buffer.copy_(w))
