"""The head of a model: sums of 64 rows fill the workspace, so that rows are taken 64 at a time."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "from 2^16 columns on, rows that do not fill the workspace once more are not made"
SMALLEST = (65, 65536, 4)  # m, n, k
ONLY = "crossings"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    rest = len(out) % 64 if len(out) > 64 and out.shape[1] >= 2**16 else 0
    return torch.cat([out[: len(out) - rest], torch.zeros_like(out[:rest])])
