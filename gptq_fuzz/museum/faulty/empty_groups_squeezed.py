"""A group without rows before one with rows."""

from gptq_fuzz.museum.parts import matmul

BUG = "groups counted by those that have rows (B-05)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    _, counted = g_idx.unique(return_inverse=True)
    return matmul(x, qweight, qzeros, scales, counted, bits)
