"""Two groups and two words of columns."""

from gptq_fuzz.museum.parts import matmul

BUG = "layout of qzeros guessed by its shape: not wider than high, so transposed (GI-14)"
SMALLEST = (1, 8, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if qzeros.shape[0] >= qzeros.shape[1]:
        qzeros = qzeros.t().reshape(qzeros.shape)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
