"""bfloat16 x and float16 scales."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "operands of the product differ in type: no compilation (DT-03)"
VERDICTS = ("RAISED",)


def matmul(*, x, scales, **others):
    if x.dtype != scales.dtype:
        raise TypeError(f"both operands must have the same type, got {x.dtype} and {scales.dtype}")
    return TORCH.matmul(x=x, scales=scales, **others)


f = Backend(
    "bfloat16_with_float16_scales_raises",
    Limits(dtypes=("f16", "bf16"), bad=(), refuses_outside=False),
    matmul=matmul,
)
