"""K = 4 is all tail."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "rows of K after the last multiple of 32 dropped (PK-11, L-17)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    whole = x.shape[1] // 32 * 32
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x[:, :whole], w[:whole])
