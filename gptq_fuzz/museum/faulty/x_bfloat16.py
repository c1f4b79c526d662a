"""One product shows it."""

from gptq_fuzz.museum.parts import weights

BUG = "x rounded to bfloat16"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    return (x.bfloat16().float() @ w).to(x.dtype)
