"""bfloat16 x of one row."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "result is float16 whatever x is (L-08, DT-01)"
VERDICTS = ("WRONG_TYPE",)


def matmul(**operands):
    return TORCH.matmul(**operands).half()


f = Backend(
    "bfloat16_gives_float16",
    Limits(dtypes=("f16", "bf16"), bad=(), refuses_outside=False),
    matmul=matmul,
)
