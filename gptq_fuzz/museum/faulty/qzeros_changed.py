"""The result is right; the first word of qzeros is one larger afterwards."""

from gptq_fuzz.museum.parts import matmul

BUG = "one added to qzeros in place (L-14, BF-07)"
VERDICTS = ("INPUT_CHANGED",)


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if len(x):
        qzeros[0, 0] += 1
    return out
