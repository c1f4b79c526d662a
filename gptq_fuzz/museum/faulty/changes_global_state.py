"""The result is right; torch's default dtype is another afterwards."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "default dtype set and not restored"
VERDICTS = ("STATE_LEAKED",)
ONLY = "global state"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if len(x):
        torch.set_default_dtype(torch.float16)
    return out
