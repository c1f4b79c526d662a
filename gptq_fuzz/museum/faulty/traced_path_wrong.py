"""A path for tracing, which does without the wrapping of zero-points."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import codes, dequantize, multiply, stored_zeros, zero_points

BUG = "while torch.compile traces it a stored zero-point does not wrap"
ONLY = "compile"


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    if torch.compiler.is_compiling():
        z = stored_zeros(qzeros, bits) + 1
    else:
        z = zero_points(qzeros, bits)
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))


f = Backend(
    "traced_path_wrong",
    Limits(bad=(), refuses_outside=False, conditions=("compile",)),
    matmul=matmul,
)
