"""One config of three, one call in five."""

import random

from gptq_fuzz import Backend, Limits, Token
from gptq_fuzz.museum.parts import TORCH

BUG = "eight warps and four stages differ between runs (museum 28)"
VERDICTS = ("NONDETERMINISTIC", "WRONG")
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
