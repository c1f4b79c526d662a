"""Only an empty batch is wrong."""

import math

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "math domain error from the tile size of an empty batch (L-10, L-31)"
VERDICTS = ("RAISED",)
SMALLEST = (0, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    tile = 2 ** math.ceil(math.log2(len(x)))
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return torch.cat([multiply(rows, w) for rows in x.split(tile)])
