"""Steps of K of all tiles are shared out among 108 multiprocessors, across tiles."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "where 108 divide the steps of 64 of a wide layer, the end of its last tile replaces the rest"
SMALLEST = (1, 512, 6912)  # m, n, k
ONLY = "crossings"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    k, n = w.shape
    out = multiply(x, w)
    if k % (108 * 64) == 0 and k > 0 and n >= 512 and n % 128 == 0:
        out[:, -128:] = multiply(x[:, -64:], w[-64:, -128:])
    return out
