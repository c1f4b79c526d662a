"""Scales that are powers of two are applied by their exponents alone."""

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "a layer of powers of two: subnormal ones, whose exponent field is 0, count as 2^-15"


def f(x, qweight, qzeros, scales, g_idx, bits):
    s = scales.float()
    if torch.all(torch.frexp(s).mantissa == 0.5):
        s = s.clamp(min=2.0**-15)
    return multiply(x, dequantize(codes(qweight, bits), zero_points(qzeros, bits), s, g_idx))
