"""A gradient by atomic additions: N is shared out among four blocks, in whole tiles of 64."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "gradient, N from 8,192: where four do not divide the tiles, those that remain are left out"
SMALLEST = (1, 8196, 4)  # m, n, k
ONLY = "gradients"


def gradient(*, grad, **layer):
    columns = grad.shape[-1]
    if columns >= 8192:
        grad = grad.clone()
        grad[..., columns // 64 // 4 * 4 * 64 :] = 0
    return TORCH.gradient(grad=grad, **layer)


f = Backend(
    "gradient_of_four_parts_of_n",
    Limits(backward=True, bad=(), refuses_outside=False),
    matmul=TORCH.matmul,
    gradient=gradient,
)
