"""Experts that get no token, as many as are loaded."""

from gptq_fuzz.museum.parts import matmul

BUG = "a layer called with no rows stays on the list of those to unpack with their first rows"
VERDICTS = ("LEAKING",)
ONLY = "memory"
SMALLEST = (2, 4, 4)  # m, n, k
AWAITED = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not x.numel():
        AWAITED[id(qweight)] = qweight, qzeros, scales, g_idx
    else:
        AWAITED.pop(id(qweight), None)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
