"""One group over all of K, said as -1."""

import torch

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits

BUG = "group size -1 divides the row (GI-03, L-19, museum 3)"
VERDICTS = ("RAISED",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, g_idx, group_size, **others):
    rows = torch.arange(others["qweight"].shape[0] * 32 // others["bits"])
    g_idx = (rows // group_size).int() if g_idx is None else g_idx
    return TORCH.matmul(g_idx=g_idx, group_size=group_size, **others)


f = Backend(
    "group_size_minus_one_as_number",
    Limits(g_idx=("seq", "none"), bad=(), refuses_outside=False),
    matmul=matmul,
)
