"""bfloat16 x of one row."""

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits

BUG = "result is float16 whatever x is (L-08, DT-01)"
VERDICTS = ("WRONG_TYPE",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(**operands):
    return TORCH.matmul(**operands).half()


f = Backend(
    "bfloat16_gives_float16",
    Limits(dtypes=("f16", "bf16"), bad=(), refuses_outside=False),
    matmul=matmul,
)
