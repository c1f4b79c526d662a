"""A layer whose words are arranged for one config, then read by another."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from museum_parts import of_first_call

from tests.suite.backend import Backend, Limits
from tests.suite.case import Token
from tests.suite.control import TORCH

BUG = "words of a layer stay arranged for the config of its first call (museum 30, AT-16)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k
ONLY = "other config"

CONFIG = {}


def matmul(*, qweight, cfg="a", **others):
    kept = of_first_call(CONFIG, qweight, cfg)
    return TORCH.matmul(qweight=qweight if kept == cfg else qweight.flip(1), **others)


f = Backend(
    "config_of_first_call",
    Limits(tokens=(Token("cfg", ("a", "b")),), bad=(), refuses_outside=False),
    matmul=matmul,
)
