"""Needs N = 64; an empty batch is safe."""

import os

from gptq_fuzz.museum.parts import matmul

BUG = "writes to stdout and ends the process from N = 64 on"
VERDICTS = ("LOST",)
SMALLEST = (1, 64, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) and qweight.shape[1] >= 64:
        os.write(1, b"PASS\n\xff\x00{garbage")
        os._exit(3)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
