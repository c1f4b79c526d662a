"""A second row of tiles of 64 x 128, and 41 tiles of columns."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "a tile's row is int(number * (1 / tiles of columns)) in float32, which 41 * (1 / 41) is not"
ONLY = "crossings"
SMALLEST = (65, 5124, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    wide = torch.tensor(-(-out.shape[1] // 128), dtype=torch.float32)
    for row in range(1, -(-len(x) // 64)):
        if int(row * wide * (1 / wide)) < row:  # the first tile of that row is masked
            out[64 * row : 64 * row + 64, :128] = 0
    return out
