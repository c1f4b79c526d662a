"""Any shape, at the thirtieth call."""

import itertools

from gptq_fuzz.museum.parts import matmul

BUG = "one call in thirty gives a wrong last element (AC-01, museum 25)"
VERDICTS = ("NONDETERMINISTIC", "WRONG")

CALLS = itertools.count(1)


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if next(CALLS) % 30 == 0 and len(out):
        out[-1, -1] = 2 * out[-1, -1] + 1
    return out
