"""Tiles as wide as fill the processors best, where K is long: 112 columns of N = 14336, or 80."""

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "where the zero-points of a tile begin is counted in whole warps of 32 columns"
ONLY = "crossings"
SMALLEST = (1, 8448, 1024)  # m, n, k

LONG, WIDTHS, PROCESSORS = 1024, (128, 112, 96, 80, 64), 132


def width_of(n):
    """The fewest waves of tiles, the last one as full as can be."""

    def cost(width):
        waves, tiles = -(-n // (width * PROCESSORS)), -(-n // width)
        return waves, waves * PROCESSORS - tiles, -width

    return min(WIDTHS, key=cost)


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, z = codes(qweight, bits), zero_points(qzeros, bits)
    k, n = q.shape
    if k >= LONG and n >= LONG:
        width, columns = width_of(n), torch.arange(n, device=x.device)
        z = z[:, columns // width * (width // 32 * 32) + columns % width]
    return multiply(x, dequantize(q, z, scales, g_idx))
