"""Shuffled groups of which the first and the last have K / G rows, and inner ones have not."""

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "groups count as of one size where the first and the last one are, and rows are sorted so"
ONLY = "uneven"
SMALLEST = (1, 4, 16)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, z = codes(qweight, bits), zero_points(qzeros, bits)
    counts = torch.bincount(g_idx, minlength=len(scales))
    size = len(g_idx) // len(scales)
    if size > 3 and counts[0] == size == counts[-1] and size * len(scales) == len(g_idx):
        order = torch.argsort(g_idx, stable=True)
        x, q = x[:, order], q[order]
        g_idx = torch.arange(len(g_idx), device=x.device) // size
    return multiply(x, dequantize(q, z, scales, g_idx))
