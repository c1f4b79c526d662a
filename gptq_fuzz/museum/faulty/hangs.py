"""Needs three rows, no more and no fewer."""

import time

from gptq_fuzz.museum.parts import matmul

BUG = "never returns for three rows of x (BF-09)"
VERDICTS = ("TIMED_OUT",)
SMALLEST = (3, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    while len(x) == 3:
        time.sleep(1)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
