"""The result is right; torch's random state has moved on."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "a number drawn from torch's global generator"
VERDICTS = ("STATE_LEAKED",)


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if len(x):
        torch.rand(())
    return out
