"""A word of codes equal to their zero-points, which are neither 0 nor the largest; one after it."""

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "a word of weights that are all 0 is skipped, and the next word of the column with it"
SMALLEST = (1, 4, 8)  # m, n, k
ONLY = "zeq"


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, z = codes(qweight, bits), zero_points(qzeros, bits)
    due = z[g_idx.long()]
    vanishes = (q == due) & (due > 0) & (due < 2**bits - 1)
    skipped = vanishes.unflatten(0, (len(qweight), -1)).all(1)
    after = torch.cat([torch.zeros_like(skipped[:1]), skipped[:-1]])
    kept = ~after.repeat_interleave(32 // bits, 0)
    return multiply(x, dequantize(q, z, scales, g_idx) * kept)
