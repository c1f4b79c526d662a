"""Scales are brought into the range of numbers when they are loaded."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "NaN and infinities in scales are replaced by 0 and the largest numbers"
ONLY = "nonfinite"


def f(x, qweight, qzeros, scales, g_idx, bits):
    return matmul(x, qweight, qzeros, torch.nan_to_num(scales), g_idx, bits)
