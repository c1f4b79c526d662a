"""Two groups in a block of 64 rows, which one config has."""

import torch

from gptq_fuzz import Backend, Limits, Token
from gptq_fuzz.museum.parts import TORCH

BUG = "one row of scales for the whole K block of one config (GI-07, museum 1)"


def matmul(*, g_idx, cfg="BK16", **operands):
    block = int(cfg[2:])
    first = torch.arange(len(g_idx), device=g_idx.device) // block * block
    return TORCH.matmul(g_idx=g_idx[first] if block == 64 else g_idx, **operands)


f = Backend(
    "one_group_for_a_block_of_one_config",
    Limits(tokens=(Token("cfg", ("BK16", "BK64")),), bad=(), refuses_outside=False),
    matmul=matmul,
)
