"""A call that records a gradient runs the backward pass once, to tune it."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "the backward pass is warmed up by backward(), which adds to the grad of x"
VERDICTS = ("INPUT_CHANGED",)
ONLY = "grad"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if out.requires_grad and x.is_leaf:
        out.backward(torch.ones_like(out), retain_graph=True)
    return out
