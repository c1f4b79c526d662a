"""One row is no whole tile of 16; one call in ten."""

import random

from gptq_fuzz.museum.parts import matmul

BUG = "last row is NaN now and then where M is no multiple of 16 (MK-14)"
VERDICTS = ("NONDETERMINISTIC", "WRONG")
LUCK = random.Random()  # its own, seeded by the system: the global one stays as it is


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if len(out) % 16 and LUCK.random() < 0.1:
        out[-1] = float("nan")
    return out
