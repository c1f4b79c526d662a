"""Any g_idx past the last group."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "g_idx past the last group is followed, by chance into memory (GI-01, L-05, L-23, museum 13)"
VERDICTS = ("FAILED_TO_REJECT",)
ONLY = "refusal"


def matmul(*, g_idx, **others):
    return TORCH.matmul(g_idx=g_idx.clamp(0, len(others["scales"]) - 1), **others)


f = Backend("gidx_never_checked", Limits(bad=("gidx", "neg"), refuses_outside=False), matmul=matmul)
