"""No g_idx."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.suite.backend import Backend, Limits
from tests.suite.control import TORCH

BUG = "g_idx is asked for its length although there is none (GI-02, PK-13)"
VERDICTS = ("RAISED",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, g_idx, **others):
    assert len(g_idx)
    return TORCH.matmul(g_idx=g_idx, **others)


f = Backend(
    "absent_gidx_raises",
    Limits(g_idx=("seq", "none"), bad=(), refuses_outside=False),
    matmul=matmul,
)
