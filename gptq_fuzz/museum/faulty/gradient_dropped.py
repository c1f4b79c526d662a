"""One row of the gradient."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "gradient with respect to x is zeros (DT-06, L-12)"


def gradient(**operands):
    return 0 * TORCH.gradient(**operands)


f = Backend(
    "gradient_dropped",
    Limits(backward=True, bad=(), refuses_outside=False),
    matmul=TORCH.matmul,
    gradient=gradient,
)
