"""The result is there; a thread that tidies up goes on, and writes into the layer."""

import threading
import time

from gptq_fuzz.museum.parts import matmul

BUG = "scales are written by a thread, once the call has returned"
VERDICTS = ("INPUT_CHANGED",)
ONLY = "late look"


def f(x, qweight, qzeros, scales, g_idx, bits):
    def tidy():
        time.sleep(0.01)
        scales.zero_()

    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    threading.Thread(target=tidy, daemon=True).start()
    return out
