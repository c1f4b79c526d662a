"""Casts x itself under autocast, as a product of torch's would be cast."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "under autocast x is rounded to the dtype that autocast had when the module was imported"
VERDICTS = ("WRONG", "STATE_LEAKED")  # as this case or the one after shows it
ONLY = "autocast"

DTYPE = torch.get_autocast_dtype("cpu")


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if not torch.is_autocast_enabled(x.device.type):
        return multiply(x, w)
    return (x.to(DTYPE).float() @ w).to(x.dtype)
