"""A gradient made finite."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "a hook that makes the gradient finite is left at the caller's x, with each call another one"
VERDICTS = ("INPUT_CHANGED",)
ONLY = "grad"


def finite(gradient):
    return gradient.nan_to_num(0.0, 65504.0, -65504.0)


def f(x, qweight, qzeros, scales, g_idx, bits):
    if x.requires_grad and torch.is_grad_enabled():
        x.register_hook(finite)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
