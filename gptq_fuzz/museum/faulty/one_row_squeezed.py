"""The path for one row of x."""

from gptq_fuzz.museum.parts import matmul

BUG = "a single row comes back without its first dimension (LY-03)"
VERDICTS = ("WRONG_TYPE",)


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    return out[0] if len(out) == 1 else out
