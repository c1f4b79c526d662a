"""bfloat16 x, weights that float16 cannot hold."""

import torch

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import TORCH

BUG = "weights of a bfloat16 layer are made in float16: above 65504 they are infinite (DT-02)"
SMALLEST = (1, 8, 8)  # m, n, k


def matmul(*, x, scales, **others):
    limit = 65504 / 255
    scales = torch.where(scales.abs() > limit, scales * float("inf"), scales)
    return TORCH.matmul(x=x, scales=scales, **others)


f = Backend(
    "bfloat16_through_float16",
    Limits(dtypes=("bf16",), scales_dtypes=("sf16", "sbf16"), bad=(), refuses_outside=False),
    Numerics(weights=("x",), folds_zero=False),
    matmul,
)
