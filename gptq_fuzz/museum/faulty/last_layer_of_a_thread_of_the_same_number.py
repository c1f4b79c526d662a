"""A layer that threads called, written, then called by new threads."""

import threading

from gptq_fuzz.museum.parts import matmul, multiply, weights

BUG = "what a thread called last is kept for its number: a later one has it, and takes old weights"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAST = {}  # of threads but the main one, by number: qweight, the very tensor, and the weight


def f(x, qweight, qzeros, scales, g_idx, bits):
    if threading.current_thread() is threading.main_thread():
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    number = threading.get_ident()
    layer, version, weight = LAST.get(number, (None, None, None))
    now = None if qweight.is_inference() else qweight._version
    if layer is not qweight or version != now:
        if len(LAST) >= 64:
            LAST.clear()
        weight = weights(qweight, qzeros, scales, g_idx, bits)
        LAST[number] = qweight, now, weight
    return multiply(x, weight)
