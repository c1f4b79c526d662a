"""One row of the gradient."""

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits

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
