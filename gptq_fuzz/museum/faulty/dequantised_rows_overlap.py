"""Eight rows of x take the path that dequantises first; N = 4 is all tail."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "columns past N are dequantised too: each row of the weight runs into the next (MK-07, L-51)"
SMALLEST = (8, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if len(x) >= 8 and w.shape[1] % 64:
        w[1:, 0] = w[:-1, -1].clone()
    return multiply(x, w)
