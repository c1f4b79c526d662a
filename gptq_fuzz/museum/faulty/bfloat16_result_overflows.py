"""bfloat16 x, and a result above 65504."""

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import TORCH

BUG = "result of a bfloat16 layer passes through float16 (B-31)"


def matmul(**operands):
    return TORCH.matmul(**operands).half().bfloat16()


f = Backend(
    "bfloat16_result_overflows",
    Limits(dtypes=("bf16",), fills=("exact", "big"), bad=(), refuses_outside=False),
    Numerics(weights=("x",), folds_zero=False),
    matmul,
)
