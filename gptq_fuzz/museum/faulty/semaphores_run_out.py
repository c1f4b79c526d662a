"""More than a thousand calls in a row of one layer."""

from gptq_fuzz.museum.parts import matmul

BUG = "each call of a layer takes one of 1024 semaphores, which only another layer gives back"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAST = [None, 0]


def f(x, qweight, qzeros, scales, g_idx, bits):
    LAST[:] = qweight, LAST[1] + 1 if LAST[0] is qweight else 1
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    return out if LAST[1] <= 1024 else out * 0
