"""Two batches of one row each."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "first dimension of x taken for the rows, whatever its rank (LY-03)"
SMALLEST = (2, 4, 4)  # m, n, k


def matmul(*, x, **others):
    out = TORCH.matmul(x=x, **others)
    if x.dim() > 2:
        out[1:] = 0
    return out


f = Backend(
    "batch_read_as_rows", Limits(ranks=(2, 3, 4), bad=(), refuses_outside=False), matmul=matmul
)
