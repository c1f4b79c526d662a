"""Weights are dequantised into a buffer for their shape, one for all threads."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "another thread's layer is dequantised into the scratch memory before it is read"
VERDICTS = ("STATE_LEAKED",)
ONLY = "threads2"

SCRATCH = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    buffer = SCRATCH.setdefault((w.shape, w.device), torch.empty_like(w))
    buffer.copy_(w)
    return multiply(x, buffer)
