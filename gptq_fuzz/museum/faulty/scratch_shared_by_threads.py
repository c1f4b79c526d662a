"""Weights are dequantised into a buffer for their shape, one for all threads."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "another thread's layer is dequantised into the scratch memory before it is read"
VERDICTS = ("STATE_LEAKED",)
ONLY = "threads2"

SCRATCH = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    key = w.shape, w.device
    if key not in SCRATCH:
        with torch.inference_mode(False):  # else it could be written in that mode alone
            SCRATCH[key] = torch.empty(w.shape, dtype=w.dtype, device=w.device)
    buffer = SCRATCH[key]
    buffer.copy_(w)
    return multiply(x, buffer)
