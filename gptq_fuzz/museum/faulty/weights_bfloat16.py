"""One product shows it."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "weights rounded to bfloat16"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x, w.bfloat16().float())
