"""The result is put in place by an operator that deterministic algorithms do without."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "an operator that raises where deterministic algorithms are asked for"
VERDICTS = ("RAISED",)
ONLY = "det"


def f(x, qweight, qzeros, scales, g_idx, bits):
    result = matmul(x, qweight, qzeros, scales, g_idx, bits)
    places = torch.arange(result.numel(), device=x.device)
    return torch.empty_like(result).put_(places, result.flatten())
