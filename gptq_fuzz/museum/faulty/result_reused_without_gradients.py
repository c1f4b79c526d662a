"""Serving reuses the result of a thread for each shape; training, which keeps it, does not."""

import threading

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "where no gradient is recorded a result is overwritten by the next of its shape"
VERDICTS = ("STATE_LEAKED",)
ONLY = "nograd"

RESULTS = threading.local()


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        return out
    return RESULTS.__dict__.setdefault((*out.shape, out.dtype), out).copy_(out)
