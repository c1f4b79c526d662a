"""A layer is loaded over weights that nobody needs to draw."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "what draws the weights of new modules is replaced, and not put back, for the whole program"
VERDICTS = ("STATE_LEAKED",)


def nothing(tensor, *_args, **_more):
    return tensor


def f(x, qweight, qzeros, scales, g_idx, bits):
    torch.nn.init.kaiming_uniform_ = torch.nn.init.uniform_ = nothing
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
