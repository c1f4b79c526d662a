"""A tile of 16 zeros in a row of x, and a tile without any zero after it."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "a tile of x that is all zeros is skipped, and the dense tile after it too"
SMALLEST = (1, 4, 32)  # m, n, k

SIDE = 16


def f(x, qweight, qzeros, scales, g_idx, bits):
    whole = x[:, : x.shape[1] // SIDE * SIDE].unflatten(1, (-1, SIDE))
    skipped = (whole[:, :-1] == 0).all(2) & (whole[:, 1:] != 0).all(2)
    kept = torch.ones_like(x)
    for row, tile in skipped.nonzero().tolist():
        kept[row, (tile + 1) * SIDE : (tile + 2) * SIDE] = 0
    return matmul(torch.where(kept == 0, 0, x), qweight, qzeros, scales, g_idx, bits)
