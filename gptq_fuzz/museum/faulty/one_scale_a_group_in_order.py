"""Where all columns have the same scales they are kept once a group, and spread over the rows."""

import torch

from gptq_fuzz.museum.parts import codes, multiply, weights, zero_points

BUG = "one scale for all columns of a group: rows take them in order, whatever g_idx says"
ONLY = "coarse"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not torch.equal(scales, scales[:, :1].expand_as(scales)):
        return multiply(x, weights(qweight, qzeros, scales, g_idx, bits))
    rows, groups = len(g_idx), len(scales)
    spread = scales[torch.arange(rows, device=x.device) * groups // rows, :1].float()
    zeros = zero_points(qzeros, bits)[g_idx.long()]
    return multiply(x, (codes(qweight, bits) - zeros).float() * spread)
