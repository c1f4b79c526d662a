"""bfloat16 x and float16 scales."""

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits

BUG = "operands of the product differ in type: no compilation (DT-03)"
VERDICTS = ("RAISED",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, x, scales, **others):
    if x.dtype != scales.dtype:
        raise TypeError(f"both operands must have the same type, got {x.dtype} and {scales.dtype}")
    return TORCH.matmul(x=x, scales=scales, **others)


f = Backend(
    "bfloat16_with_float16_scales_raises",
    Limits(dtypes=("f16", "bf16"), bad=(), refuses_outside=False),
    matmul=matmul,
)
