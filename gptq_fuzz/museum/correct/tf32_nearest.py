"""Declared: x and weights rounded to the nearest of TF32's 11 digits; float32 sums."""

import torch

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import weights

LOST = 2**13 - 1  # the 13 bits by which a float32 mantissa is longer


def nearest(values):
    """As `cvt.rna.tf32` does: ties away from zero; infinities and NaN are kept."""
    values = values.float().contiguous()
    rounded = (values.view(torch.int32) + 2**12 & ~LOST).view(torch.float32)
    return torch.where(values.isfinite(), rounded, values)


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return (nearest(x) @ nearest(w)).to(x.dtype)


f = Backend(
    "tf32_nearest",
    Limits(dtypes=("f16", "f32"), scales_dtypes=("sf16", "sf32"), bad=(), refuses_outside=False),
    Numerics(weights=("exact",), folds_zero=False, tf32=True),
    matmul,
)
