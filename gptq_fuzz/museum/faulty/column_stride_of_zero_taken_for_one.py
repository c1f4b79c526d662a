"""Rows of one value, `x[:, :1].expand(-1, K)`; the gradient of a sum of rows is such a tensor."""

from gptq_fuzz.museum.parts import matmul

BUG = "x is made contiguous where its stride along K is above 1, and a stride of 0 is read as 1"
ONLY = "kcast"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if x.stride(-1) == 0 and x.stride(0):
        x = x.as_strided(x.shape, (x.stride(0), 1))
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
