"""The result is right; nobody hears a warning after it."""

import warnings

from gptq_fuzz.museum.parts import matmul

BUG = "warning filters set and not restored"
VERDICTS = ("STATE_LEAKED",)


def f(x, qweight, qzeros, scales, g_idx, bits):
    warnings.simplefilter("ignore")
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
