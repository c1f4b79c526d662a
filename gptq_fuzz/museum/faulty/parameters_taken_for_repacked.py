"""An engine's loader repacks a layer and puts parameters in its place; others come as buffers."""

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, stored_zeros, zero_points

BUG = "parameters are taken for what the loader has repacked, whose zero-points are not minus one"
ONLY = "param"


def f(x, qweight, qzeros, scales, g_idx, bits):
    is_repacked = isinstance(qzeros, torch.nn.Parameter)
    z = stored_zeros(qzeros, bits) if is_repacked else zero_points(qzeros, bits)
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))
