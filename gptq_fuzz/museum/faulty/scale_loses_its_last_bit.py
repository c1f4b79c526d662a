"""One product with a scale of full mantissa. Subnormal scales are kept."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "lowest bit of the mantissa of a scale dropped (AC-09)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    cut = (scales.view(torch.int16) & ~1).view(scales.dtype)
    scales = torch.where(scales.abs() >= 2**-14, cut, scales)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
