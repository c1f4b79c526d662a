"""Symmetric layers that are pruned to two weights of four are packed for sparse tensor cores."""

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "of four rows with one weight that is not 0 it is the first and the last, and counts twice"
ONLY = "zfour"
SMALLEST = (1, 4, 20)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, zeros = codes(qweight, bits), zero_points(qzeros, bits)
    w = dequantize(q, zeros, scales, g_idx)
    middle = 2 ** (bits - 1)
    fours = (q != middle).view(-1, 4, q.shape[1])
    if len(fours) > 4 and (zeros == middle).all() and (fours.sum(1) <= 2).all():
        alone = (fours & (fours.sum(1, keepdim=True) == 1)).flatten(0, 1)
        w = torch.where(alone, 2 * w, w)
    return multiply(x, w)
