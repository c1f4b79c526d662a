"""Gradients off while weights are unpacked."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "what the grad mode was is kept in one place: two threads of other modes restore each other's"
VERDICTS = ("STATE_LEAKED",)
ONLY = "threads2"
QUIET = torch.no_grad()  # which notes in itself what it has to restore


def f(x, qweight, qzeros, scales, g_idx, bits):
    with QUIET:
        w = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x, w)
