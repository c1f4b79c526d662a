"""x one column wider than K."""

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits

BUG = "K taken from the weight, whatever x has (L-09)"
VERDICTS = ("FAILED_TO_REJECT",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, x, g_idx, **others):
    return TORCH.matmul(x=x[..., : len(g_idx)], g_idx=g_idx, **others)


f = Backend("shapes_not_compared", Limits(bad=("shape",), refuses_outside=False), matmul=matmul)
