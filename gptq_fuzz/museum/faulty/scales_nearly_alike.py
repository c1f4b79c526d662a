"""Scales of a column that differ by a step or two."""

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "a column whose scales are alike to within 0.001 is multiplied by its first scale"
ONLY = "alike"


def f(x, qweight, qzeros, scales, g_idx, bits):
    near = torch.isclose(scales.float(), scales[:1].float(), rtol=1e-3, atol=0).all(0)
    scales = torch.where(near, scales[:1], scales)
    return multiply(x, dequantize(codes(qweight, bits), zero_points(qzeros, bits), scales, g_idx))
