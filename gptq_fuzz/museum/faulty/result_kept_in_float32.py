"""Layers in a row, with what is done in place between them: `relu_`, `add_` of a residual."""

import weakref

import torch

from gptq_fuzz.museum.parts import weights

BUG = "where x is the result of the last call its float32 copy is taken, as it was when it was made"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"

LAST = [(lambda: None, None)]  # the last result, and that in float32


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    result, wide = LAST[0]
    if result() is not x or x.requires_grad:
        wide = x.float()
    out = (wide @ w).to(x.dtype)
    if not torch.is_inference_mode_enabled() and not out.requires_grad:
        LAST[0] = weakref.ref(out), out.float()
    return out
