"""One group over all of K, given as -1."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "group size -1 divides the row (GI-03, L-19, museum 3)"
VERDICTS = ("RAISED",)


def matmul(*, g_idx, group_size, **others):
    rows = torch.arange(others["qweight"].shape[0] * 32 // others["bits"])
    g_idx = (rows // group_size).int() if g_idx is None else g_idx
    return TORCH.matmul(g_idx=g_idx, group_size=group_size, **others)


f = Backend(
    "group_size_minus_one_as_number",
    Limits(g_idx=("seq", "none"), bad=(), refuses_outside=False),
    matmul=matmul,
)
