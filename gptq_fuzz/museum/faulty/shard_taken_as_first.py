"""Consecutive groups that do not start at 0, as one of several tensor-parallel shards has them."""

from gptq_fuzz.museum.parts import matmul

BUG = "groups that follow each other taken to start at 0"
ONLY = "shard"


def f(x, qweight, qzeros, scales, g_idx, bits):
    steps = g_idx.diff()
    if ((steps == 0) | (steps == 1)).all():
        g_idx = g_idx - g_idx[0]
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
