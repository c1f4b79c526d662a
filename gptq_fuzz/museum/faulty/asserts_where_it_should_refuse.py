"""Any g_idx past the last group."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "operands are checked by assert, which python -O leaves out (L-70)"
VERDICTS = ("FAILED_TO_REJECT",)


def matmul(*, g_idx, **others):
    assert g_idx.max() < len(others["scales"])
    return TORCH.matmul(g_idx=g_idx, **others)


f = Backend(
    "asserts_where_it_should_refuse", Limits(bad=("gidx",), refuses_outside=False), matmul=matmul
)
