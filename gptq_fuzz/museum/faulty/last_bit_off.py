"""One element, one step of its dtype."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "last element one float16 step too far from zero"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if len(out):
        out.view(torch.int16)[-1, -1] += 1
    return out
