"""Steps of K of all tiles are shared out evenly among 108 multiprocessors, across tiles."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "where the steps of 64 divide evenly, who has the end of a tile replaces the part before it"
SMALLEST = (1, 512, 6912)  # m, n, k
ONLY = "crossings"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    steps, tiles = -(-len(w) // 64), -(-w.shape[1] // 128)
    share, left = divmod(steps * tiles, 108)
    out = multiply(x, w)
    if len(x) == 1 and share >= 2 and left == 0 and steps % share == 0 and steps > share:
        last = (steps - share) * 64
        out[:, -128:] = multiply(x[:, last:], w[last:, -128:])
    return out
