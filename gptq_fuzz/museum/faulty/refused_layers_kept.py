"""A layer is entered in a table while it is used, and taken out when the result is there."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "a call that is refused leaves its layer in the table of those in use, and in memory"
VERDICTS = ("LEAKING",)
ONLY = "memory"
SMALLEST = (1, 4, 4)  # m, n, k
IN_USE = []


def matmul(*, qweight, **others):
    IN_USE.append(qweight)
    out = TORCH.matmul(qweight=qweight, **others)
    IN_USE.pop()
    return out


f = Backend(
    "refused_layers_kept",
    Limits(bad=("sshape", "dtype"), refuses_outside=False),
    TORCH.numerics,
    matmul=matmul,
)
