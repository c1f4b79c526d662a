"""x one column wider than K."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "K taken from the weight, whatever x has (L-09)"
VERDICTS = ("FAILED_TO_REJECT",)


def matmul(*, x, g_idx, **others):
    return TORCH.matmul(x=x[..., : len(g_idx)], g_idx=g_idx, **others)


f = Backend("shapes_not_compared", Limits(bad=("shape",), refuses_outside=False), matmul=matmul)
