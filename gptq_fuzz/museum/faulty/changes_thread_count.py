"""The result is right; torch's thread count is another afterwards."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "thread count set and not restored (PK-14)"
VERDICTS = ("STATE_LEAKED",)


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if len(x):
        torch.set_num_threads(torch.get_num_threads() % 2 + 1)
    return out
