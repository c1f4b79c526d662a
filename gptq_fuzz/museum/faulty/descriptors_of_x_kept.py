"""One row after another of a buffer that stays, as a decoding loop hands on."""

from gptq_fuzz.museum.parts import matmul

BUG = "a description of x is kept for each address of it, for ever"
VERDICTS = ("LEAKING",)
ONLY = "memory"
KEPT = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    KEPT.setdefault(x.data_ptr(), [*x.shape, *x.stride(), x.data_ptr()])
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
