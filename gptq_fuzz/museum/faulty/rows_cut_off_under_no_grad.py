"""Rows are padded to whole tiles; gradients of a frozen layer need nothing of that."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "the result is a view made under no_grad: what an adapter trains cannot be added to it"
VERDICTS = ("WRONG_TYPE",)
ONLY = "grad"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if x.requires_grad:
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    with torch.no_grad():
        padded = torch.nn.functional.pad(x, (0, 0, 0, -len(x) % 16))
        return matmul(padded, qweight, qzeros, scales, g_idx, bits)[: len(x)]
