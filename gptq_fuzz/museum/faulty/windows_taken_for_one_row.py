"""Rows of x that overlap in memory, `signal.unfold(0, K, 3)`."""

from gptq_fuzz.museum.parts import matmul

BUG = "rows that lie closer than K elements are taken for one row that was expanded"
ONLY = "lap"
SMALLEST = (2, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if len(x) > 1 and 0 < x.stride(0) < x.shape[1] and x.stride(1) == 1:
        out[:] = out[:1].clone()
    return out
