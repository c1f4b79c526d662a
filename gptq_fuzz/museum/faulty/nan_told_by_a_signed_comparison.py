"""float16 becomes float32 bit by bit: what lies above infinity as a number with a sign is NaN."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "NaN is told by a comparison of its bits with a sign: where that is set it is a number"
ONLY = "nans"
INFINITY = 0x7C00  # bits


def widened(x):
    bits = x.contiguous().view(torch.int16).int()
    size = bits & 0x7FFF
    normal = ((size << 13) + (112 << 23)).view(torch.float32)
    value = torch.where(size < 0x400, size * 2.0**-24, normal)
    value = torch.where(size == INFINITY, torch.inf, value)
    return torch.where(bits > INFINITY, torch.nan, torch.where(bits < 0, -value, value))


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(widened(x), w).to(x.dtype)
