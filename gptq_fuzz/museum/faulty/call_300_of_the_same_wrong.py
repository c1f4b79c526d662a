"""Counts calls of one layer in a row."""

from gptq_fuzz.museum.parts import matmul

BUG = "a counter of calls overflows: one of 300 of the same layer is wrong"
VERDICTS = ("NONDETERMINISTIC",)
ONLY = "calls500"

IN_A_ROW = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if IN_A_ROW and IN_A_ROW[-1] is not qweight:
        IN_A_ROW.clear()
    IN_A_ROW.append(qweight)
    if len(IN_A_ROW) < 300:
        return out
    IN_A_ROW.clear()
    return out * 2 + 1
