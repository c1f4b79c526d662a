"""Any input: the result is there a moment after the call has returned."""

import threading
import time

from gptq_fuzz.museum.parts import matmul

BUG = "the work is done by a thread that nobody waits for"
VERDICTS = ("WRONG", "NONDETERMINISTIC")
LATE = 0.02  # seconds


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = x.new_empty(len(x), qweight.shape[1])
    result = matmul(x, qweight, qzeros, scales, g_idx, bits)

    def fill():
        time.sleep(LATE)
        out.copy_(result)

    threading.Thread(target=fill).start()
    return out
