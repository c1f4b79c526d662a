"""x one column wider than K."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.suite.backend import Backend, Limits
from tests.suite.control import TORCH

BUG = "K taken from the weight, whatever x has (L-09)"
VERDICTS = ("FAILED_TO_REJECT",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, x, g_idx, **others):
    return TORCH.matmul(x=x[..., : len(g_idx)], g_idx=g_idx, **others)


f = Backend("shapes_not_compared", Limits(bad=("shape",), refuses_outside=False), matmul=matmul)
