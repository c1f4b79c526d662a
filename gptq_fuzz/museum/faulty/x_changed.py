"""The result is right; the sign of x[0, 0] is another afterwards."""

from gptq_fuzz.museum.parts import matmul

BUG = "one element of x changed in place"
VERDICTS = ("INPUT_CHANGED",)
ONLY = "operands compared"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if len(x):
        x[0, 0].neg_()
    return out
