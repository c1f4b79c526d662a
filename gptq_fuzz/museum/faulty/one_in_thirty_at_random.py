"""Any shape, and never at the same call."""

import random

from gptq_fuzz.museum.parts import matmul

BUG = "one call in thirty, at random, gives a wrong last element (AC-01, museum 25)"
VERDICTS = ("NONDETERMINISTIC", "WRONG")

LUCK = random.Random()  # its own, seeded by the system: the global one stays as it is


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if LUCK.random() < 1 / 30 and len(out):
        out[-1, -1] = 2 * out[-1, -1] + 1
    return out
