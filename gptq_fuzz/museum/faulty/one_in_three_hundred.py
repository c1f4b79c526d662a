"""Any shape, at the three hundredth call: seldom in a row of cases, always in 500 calls of one."""

import itertools

from gptq_fuzz.museum.parts import matmul

BUG = "one call in three hundred gives a wrong last element"
VERDICTS = ("NONDETERMINISTIC",)

CALLS = itertools.count(1)


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if next(CALLS) % 300 == 0 and len(out):
        out[-1, -1] = 2 * out[-1, -1] + 1
    return out
