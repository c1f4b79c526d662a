"""Rows that are shuffled look scales up by an offset, those in order by a pointer that moves on."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "with shuffled rows, offsets into more than 2^17 scales are held in 17 bits"
SMALLEST = (1, 260, 508)  # m, n, k
ONLY = "groups"

HELD = 2**17


def f(x, qweight, qzeros, scales, g_idx, bits):
    is_in_order = bool((g_idx[1:] >= g_idx[:-1]).all())
    if scales.numel() > HELD and not is_in_order:
        offsets = torch.arange(scales.numel(), device=scales.device).view(scales.shape)
        scales = scales.reshape(-1)[offsets % HELD]
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
