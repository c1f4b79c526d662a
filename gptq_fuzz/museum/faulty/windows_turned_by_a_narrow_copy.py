"""Columns of x that overlap in memory, `signal.unfold(0, M, 3).t()`."""

from gptq_fuzz.museum.parts import matmul

BUG = "x that lies by columns is turned by a copy that is no wider than their distance"
ONLY = "lapt"
SMALLEST = (2, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if x.ndim == 2 and x.shape[1] > 1 and x.stride(0) == 1 and 1 <= x.stride(1) < len(x):
        out[x.stride(1) :] = 0
    return out
