"""One scratch buffer for all threads, each with it to itself until its result is there."""

import threading

import torch

from gptq_fuzz.museum.parts import multiply, weights

SCRATCH = {}
LOCK = threading.Lock()


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    with LOCK:
        buffer = SCRATCH.setdefault((w.shape, w.device), torch.empty_like(w))
        buffer.copy_(w)
        return multiply(x, buffer)
