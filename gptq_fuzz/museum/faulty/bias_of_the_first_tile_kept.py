"""Programs that stay, 64 of them: each goes on to the tile of 64 columns 64 further on."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "the bias of a program's first tile is added to all its tiles"
SMALLEST = (1, 4100, 4)  # m, n, k
ONLY = "N"


def matmul(*, bias, **others):
    if bias is not None:
        bias = bias[torch.arange(len(bias), device=bias.device) % (64 * 64)]
    return TORCH.matmul(bias=bias, **others)


f = Backend(
    "bias_of_the_first_tile_kept",
    Limits(bias=True, bad=(), refuses_outside=False),
    matmul=matmul,
)
