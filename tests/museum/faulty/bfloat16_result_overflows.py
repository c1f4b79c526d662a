"""bfloat16 x, and a result above 65504."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.suite.backend import Backend, Limits, Numerics
from tests.suite.control import TORCH

BUG = "result of a bfloat16 layer passes through float16 (B-31)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(**operands):
    return TORCH.matmul(**operands).half().bfloat16()


f = Backend(
    "bfloat16_result_overflows",
    Limits(dtypes=("bf16",), fills=("exact", "big"), bad=(), refuses_outside=False),
    Numerics(weights=("x",), folds_zero=False),
    matmul,
)
