"""One row of the gradient."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.suite.backend import Backend, Limits
from tests.suite.control import TORCH

BUG = "gradient with respect to x is zeros (DT-06, L-12)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k


def gradient(**operands):
    return 0 * TORCH.gradient(**operands)


f = Backend(
    "gradient_dropped",
    Limits(backward=True, bad=(), refuses_outside=False),
    matmul=TORCH.matmul,
    gradient=gradient,
)
