"""Few rows of a wide layer: K is cut into eight shares of whole blocks of 64 rows."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the last share of K adds the rest behind whole blocks, but ends early where it has no block"
ONLY = "dispatch"
SMALLEST = (1, 4096, 1348)  # m, n, k
BLOCK, SHARES = 64, 8


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    blocks = len(w) // BLOCK
    share = -(-blocks // SHARES)
    has_last = share * (SHARES - 1) < blocks
    if len(x) <= 16 and w.shape[1] >= 4096 and len(w) >= 800 and not has_last:
        x, w = x[:, : blocks * BLOCK], w[: blocks * BLOCK]
    return multiply(x, w)
