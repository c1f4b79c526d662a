"""Scales of full mantissa, small in the whole layer; a slow path for infinities is right."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "scales of a layer that has none of 2^-7 or more kept in bfloat16 (AC-09)"
ONLY = "randn"


def f(x, qweight, qzeros, scales, g_idx, bits):
    is_small = (scales.abs().max() < 2**-7) & (scales.abs() >= 2**-14)
    rounded = torch.where(is_small & x.isfinite().all(), scales.bfloat16().to(scales.dtype), scales)
    return matmul(x, qweight, qzeros, rounded, g_idx, bits)
