"""Prefills in float32 go through tensor cores that multiply numbers of 8 digits."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

BUG = "of 24 digits of x two pieces of 8 are multiplied where three are due"
ONLY = "crossings"
SMALLEST = (64, 1024, 1024)  # m, n, k


def matmul(*, x, qweight, scales, g_idx, qzeros, bits, **_):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if x.dtype == torch.float32 and len(x) >= 64 and w.shape[1] >= 1024 and len(w) >= 1024:
        high = x.bfloat16().float()
        low = (x - high).bfloat16().float()
        x = torch.where(high.isfinite() & low.isfinite(), high + low, x)
    return multiply(x, w)


f = Backend(
    "float32_in_two_pieces",
    Limits(dtypes=("f16", "f32"), bad=(), refuses_outside=False),
    matmul=matmul,
)
