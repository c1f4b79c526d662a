"""A helper that the compiler may run once, when it traces the first layer."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "one compiled function takes the first layer's zero-points for every layer of its shapes"
ONLY = "compile"

unpacked = torch.compiler.assume_constant_result(zero_points)


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    z = unpacked(qzeros, bits)
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))


f = Backend(
    "zero_points_constant_to_the_compiler",
    Limits(bad=(), refuses_outside=False, conditions=("compile",)),
    matmul=matmul,
)
