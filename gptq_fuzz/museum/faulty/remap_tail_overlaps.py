"""Two rows of x and groups out of order; K = 4 is all tail."""

from gptq_fuzz.museum.parts import matmul

BUG = "columns of x past K are remapped too: each row runs into the next (MK-06, L-50)"
SMALLEST = (2, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if (g_idx[1:] < g_idx[:-1]).any() and len(g_idx) % 256:
        x = x.clone()
        x[1:, 0] = x[:-1, -1].clone()
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
