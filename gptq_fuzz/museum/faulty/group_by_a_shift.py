"""The group of a row of a long K is found by a shift, as if each size were a power of two."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "from K = 1024 on, rows in order are in group k >> log2(group size)"
SMALLEST = (1, 4, 1024)  # m, n, k
ONLY = "crossings"


def f(x, qweight, qzeros, scales, g_idx, bits):
    k, size = len(g_idx), int((g_idx == g_idx[0]).sum())
    in_order = torch.equal(g_idx, (torch.arange(k, device=g_idx.device) // size).to(g_idx.dtype))
    if k >= 1024 and size < k and in_order:
        shifted = torch.arange(k, device=g_idx.device) >> (size.bit_length() - 1)
        g_idx = shifted.clamp(max=len(scales) - 1).to(g_idx.dtype)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
