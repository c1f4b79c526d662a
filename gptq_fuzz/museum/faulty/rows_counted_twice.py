"""A group of 4 rows: all of them lie behind its last whole 8."""

import torch

from gptq_fuzz.museum.parts import largest_group, multiply, weights

BUG = "steps of 8 rows: what is left of a group that is no whole 8 counts twice (GI-05)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    size = largest_group(g_idx)
    place = torch.arange(len(w), device=x.device) % size
    return multiply(x, w * (1 + (place >= size // 8 * 8))[:, None])
