"""The config that leaves a column out, alone or after another one."""

import torch

from gptq_fuzz import Backend, Limits, Token
from gptq_fuzz.museum.parts import TORCH

BUG = "one config leaves the last column as the one before it wrote it (museum 30)"
VERDICTS = ("WRONG", "STATE_LEAKED", "NONDETERMINISTIC")
RESULTS = {}


def matmul(*, cfg="a", **operands):
    right = TORCH.matmul(**operands)
    kept = RESULTS.get((right.shape, right.device))
    out = torch.empty_like(right) if kept is None else kept.clone()
    out[:, : -1 if cfg == "b" else None] = right[:, : -1 if cfg == "b" else None]
    RESULTS[right.shape, right.device] = out.clone()
    return out


f = Backend(
    "leftovers_of_another_config",
    Limits(tokens=(Token("cfg", ("a", "b")),), bad=(), refuses_outside=False),
    matmul=matmul,
)
