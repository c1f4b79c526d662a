"""One row."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.suite.backend import Backend, Limits
from tests.suite.control import TORCH

BUG = "bias of the layer is not added (DT-05)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, bias, **others):
    return TORCH.matmul(bias=None, **others)


f = Backend("bias_dropped", Limits(bias=True, bad=(), refuses_outside=False), matmul=matmul)
