"""Groups in order whose size times K is more than 2^24."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "the group of a row is found by a multiplication and a shift of 24 bits"
ONLY = "crossings"
SMALLEST = (1, 4, 8196)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    k = torch.arange(len(g_idx), device=x.device)
    size = int((g_idx == 0).sum())
    if len(scales) > 1 and size >= 512 and torch.equal(g_idx.long(), k // size):
        g_idx = (k * (2**24 // size + 1) >> 24).clamp(max=len(scales) - 1)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
