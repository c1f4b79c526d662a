"""Three groups in one piece each, three rows or more, neither rising nor falling."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "groups in one piece each taken as rising or falling, by the first and the last row"
SMALLEST = (1, 4, 8)  # m, n, k
ONLY = "perm"


def f(x, qweight, qzeros, scales, g_idx, bits):
    found, counts = g_idx.unique_consecutive(return_counts=True)
    if len(found) == len(scales) and (counts[:-1] >= 3).all():
        ordered = found.sort(descending=bool(found[0] > found[-1])).values
        g_idx = torch.repeat_interleave(ordered, counts)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
