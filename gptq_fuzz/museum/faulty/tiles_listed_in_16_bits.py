"""A list of tiles of 16 x 64 weights, for layers of more than 2^26."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "the list that tiles are taken from holds 16 bits: those behind 65,536 are the first again"
ONLY = "crossings"
SMALLEST = (1, 6144, 10924)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    columns = scales.shape[1]
    if len(g_idx) * columns > 2**26:
        rows = torch.arange(len(qweight), device=x.device)
        listed = 2**26 // columns * bits // 32  # rows of words before the list begins anew
        qweight = qweight[rows % listed]
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
