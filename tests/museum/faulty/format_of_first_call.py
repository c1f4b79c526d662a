"""A layer whose zero-points are stored the v1 way, then the v2 way."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from museum_parts import of_first_call

from tests.suite.backend import Backend, Limits
from tests.suite.control import TORCH

BUG = "checkpoint format of a layer kept from its first call (PK-04)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k
ONLY = "other format"

FORMAT = {}


def matmul(*, qweight, checkpoint_format, **others):
    kept = of_first_call(FORMAT, qweight, checkpoint_format)
    return TORCH.matmul(qweight=qweight, checkpoint_format=kept, **others)


f = Backend(
    "format_of_first_call",
    Limits(formats=("v1", "v2"), bad=(), refuses_outside=False),
    matmul=matmul,
)
