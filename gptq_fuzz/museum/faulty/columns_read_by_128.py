"""128 rows of K, and columns that are no whole block of 128."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "weight read in rows of whole blocks of 128 columns where K has whole blocks too (MK-10)"
SMALLEST = (1, 4, 128)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if w.shape[0] % 128 == 0 and w.shape[1] % 128:
        w[1:] = w[:-1].clone()
    return multiply(x, w)
