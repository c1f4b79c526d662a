"""Groups out of order, and K above 2048."""

from gptq_fuzz.museum.parts import matmul

BUG = "scratch for permuted x holds 2048 columns: the rest is lost (BF-01, BF-04, L-59)"
SMALLEST = (1, 4, 2052)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if (g_idx[1:] < g_idx[:-1]).any():
        x = x.clone()
        x[:, 2048:] = 0
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
