"""One config of three, one call in five."""

import random

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits
from gptq_fuzz.case.case import Token

BUG = "eight warps and four stages differ between runs (museum 28)"
VERDICTS = ("NONDETERMINISTIC", "WRONG")
SMALLEST = (1, 4, 4)  # m, n, k
LUCK = random.Random()  # its own, seeded by the system: the global one stays as it is


def matmul(*, cfg="w4.st2", **operands):
    out = TORCH.matmul(**operands)
    if cfg == "w8.st4" and out.numel() and LUCK.random() < 0.2:
        out[-1, -1] = 2 * out[-1, -1] + 1
    return out


f = Backend(
    "one_config_flaky",
    Limits(tokens=(Token("cfg", ("w4.st2", "w8.st2", "w8.st4")),), bad=(), refuses_outside=False),
    matmul=matmul,
)
