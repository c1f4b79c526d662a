"""A layer is taken for symmetric where its first zero-points are the middle in all groups."""

import torch

from gptq_fuzz.museum.parts import codes, zero_points

BUG = "whether zero-points are the middle is asked of the first columns alone"
ONLY = "zhead"


def f(x, qweight, qzeros, scales, g_idx, bits):
    zeros, middle, group = zero_points(qzeros, bits), 2 ** (bits - 1), g_idx.long()
    if (zeros[:, : 16 // bits] == middle).all():
        zeros = torch.full_like(zeros, middle)
    w = (codes(qweight, bits) - zeros[group]).float() * scales.float()[group]
    return (x.float() @ w).to(x.dtype)
