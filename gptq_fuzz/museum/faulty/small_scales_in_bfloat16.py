"""Scales of ordinary size and full mantissa; a slow path for infinities is right."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "normal scales below 2^-8 kept in bfloat16 (AC-09)"
ONLY = "randn"


def f(x, qweight, qzeros, scales, g_idx, bits):
    is_small = (scales.abs() < 2**-8) & (scales.abs() >= 2**-14) & scales.isfinite().all()
    rounded = torch.where(is_small & x.isfinite().all(), scales.bfloat16().to(scales.dtype), scales)
    return matmul(x, qweight, qzeros, rounded, g_idx, bits)
