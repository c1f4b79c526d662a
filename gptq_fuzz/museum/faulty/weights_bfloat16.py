"""One product shows it."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "weights rounded to bfloat16"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x, w.bfloat16().float())
