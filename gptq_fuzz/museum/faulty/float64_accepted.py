"""float64 x where float16 alone is promised."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "dtype of x is not checked (DT-01, L-08)"
VERDICTS = ("FAILED_TO_REJECT",)


def matmul(*, x, **others):
    return TORCH.matmul(x=x.half(), **others)


f = Backend("float64_accepted", Limits(bad=("dtype",), refuses_outside=False), matmul=matmul)
