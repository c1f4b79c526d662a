"""Nothing is ever read from it again, so no result is wrong."""

from gptq_fuzz.museum.parts import matmul

BUG = "every result kept in a list"
VERDICTS = ("LEAKING",)
ONLY = "memory"
SMALLEST = (1, 4, 4)  # m, n, k
KEPT = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    KEPT.append(matmul(x, qweight, qzeros, scales, g_idx, bits))
    return KEPT[-1].clone()
