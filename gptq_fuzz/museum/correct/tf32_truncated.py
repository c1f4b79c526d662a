"""Declared: x and weights cut to TF32's 11 digits, as tensor cores read float32; float32 sums."""

import torch

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import weights

LOST = 2**13 - 1  # the 13 bits by which a float32 mantissa is longer


def cut(values):
    return (values.float().contiguous().view(torch.int32) & ~LOST).view(torch.float32)


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return (cut(x) @ cut(w)).to(x.dtype)


f = Backend(
    "tf32_truncated",
    Limits(dtypes=("f16", "f32"), scales_dtypes=("sf16", "sf32"), bad=(), refuses_outside=False),
    Numerics(weights=("exact",), folds_zero=False, tf32=True),
    matmul,
)
