"""Needs rows of x that are one row in memory: what is added to a row of the result adds to all."""

from gptq_fuzz.museum.parts import matmul

BUG = "one row stands for all where x has a row stride of 0, and its result is expanded"
VERDICTS = ("WRONG_TYPE",)
SMALLEST = (2, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) > 1 and x.stride(0) == 0:
        return matmul(x[:1], qweight, qzeros, scales, g_idx, bits).expand(len(x), -1)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
