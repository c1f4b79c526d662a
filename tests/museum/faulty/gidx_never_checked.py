"""Any g_idx past the last group."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.suite.backend import Backend, Limits
from tests.suite.control import TORCH

BUG = "g_idx past the last group is followed, by chance into memory (GI-01, L-05, L-23, museum 13)"
VERDICTS = ("FAILED_TO_REJECT",)
SMALLEST = (1, 4, 4)  # m, n, k
ONLY = "refusal"


def matmul(*, g_idx, **others):
    return TORCH.matmul(g_idx=g_idx.clamp(0, len(others["scales"]) - 1), **others)


f = Backend("gidx_never_checked", Limits(bad=("gidx", "neg"), refuses_outside=False), matmul=matmul)
