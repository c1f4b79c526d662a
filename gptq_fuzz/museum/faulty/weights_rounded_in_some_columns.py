"""Two words of columns."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "weights of the first word of columns stay in float32, the others are rounded to float16"
SMALLEST = (1, 8, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    w[:, 32 // bits :] = w[:, 32 // bits :].half().float()
    return multiply(x, w)
