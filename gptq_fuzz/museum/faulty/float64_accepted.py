"""float64 x where float16 alone is promised."""

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits

BUG = "dtype of x is not checked (DT-01, L-08)"
VERDICTS = ("FAILED_TO_REJECT",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, x, **others):
    return TORCH.matmul(x=x.half(), **others)


f = Backend("float64_accepted", Limits(bad=("dtype",), refuses_outside=False), matmul=matmul)
