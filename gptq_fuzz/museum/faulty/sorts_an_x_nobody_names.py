"""Activation order: x sorted by group."""

import sys

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "an x that only the call refers to is sorted in place: it was a view of its caller's"
VERDICTS = ("INPUT_CHANGED",)
ONLY = "unnamed"
UNNAMED = 2  # references: the name here, and the argument of getrefcount


def f(x, qweight, qzeros, scales, g_idx, bits):
    is_mine = sys.getrefcount(x) == UNNAMED and x.is_contiguous() and not x.requires_grad
    w, order = weights(qweight, qzeros, scales, g_idx, bits), torch.argsort(g_idx, stable=True)
    if is_mine and not x.is_inference():
        return multiply(x.copy_(x[..., order]), w[order])
    return multiply(x[..., order], w[order])
