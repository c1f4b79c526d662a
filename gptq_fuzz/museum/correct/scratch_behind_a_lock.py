"""One scratch buffer for all threads, each with it to itself until its result is there."""

import threading

import torch

from gptq_fuzz.museum.parts import multiply, weights

SCRATCH = {}
LOCK = threading.Lock()


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    with LOCK:
        key = w.shape, w.device
        if key not in SCRATCH:
            with torch.inference_mode(False):  # else it could be written in that mode alone
                SCRATCH[key] = torch.empty(w.shape, dtype=w.dtype, device=w.device)
        buffer = SCRATCH[key]
        buffer.copy_(w)
        return multiply(x, buffer)
