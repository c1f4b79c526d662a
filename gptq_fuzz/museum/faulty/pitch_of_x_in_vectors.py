"""Large products load x by a descriptor whose pitch counts vectors of 8 elements."""

from gptq_fuzz.museum.parts import matmul

BUG = "of a large product, rows of x that are no whole number of vectors apart are read elsewhere"
SMALLEST = (64, 1024, 1024)  # m, n, k
ONLY = "crossings"


def f(x, qweight, qzeros, scales, g_idx, bits):
    (m, k), n = x.shape, qweight.shape[1]
    if min(m, n // 16, k // 16) >= 64 and x.stride(1) == 1 and x.stride(0) >= k:
        x = x.as_strided((m, k), (x.stride(0) // 8 * 8, 1))
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
