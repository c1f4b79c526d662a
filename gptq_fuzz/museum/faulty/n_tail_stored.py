"""Rows after the first are hit, so M is 2."""

from gptq_fuzz.museum.parts import matmul

BUG = "store of a tile of 32 columns not masked: runs into the next row (L-49, museum 5)"
SMALLEST = (2, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    out[1:, : -out.shape[1] % 32] = 0
    return out
