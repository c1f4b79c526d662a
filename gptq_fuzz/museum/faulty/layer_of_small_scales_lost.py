"""Every scale of the layer is subnormal."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "scales divided by the largest, which is taken as 0 where it is subnormal (B-03, L-16)"
ONLY = "tiny"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if scales.abs().max() <= 2**-14:
        scales = torch.zeros_like(scales)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
