"""Rows that lie 2^31 elements apart."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "row times stride in 32 bits wraps at 2^31 elements (OV-01, L-06, museum 20)"
SMALLEST = (2, 4, 4)  # m, n, k
ONLY = "offsets"


def f(x, qweight, qzeros, scales, g_idx, bits):
    last = (len(x) - 1) * x.stride(0)
    rows = torch.arange(len(x), device=x.device)
    wrapped = rows * x.stride(0) >= 2**31
    x = torch.where(wrapped[:, None], x[:1], x) if last >= 2**31 else x
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
