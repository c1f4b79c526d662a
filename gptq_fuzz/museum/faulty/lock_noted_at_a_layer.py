"""A layer's own lock, kept beside it."""

import threading

from gptq_fuzz.museum.parts import matmul

BUG = "a lock is noted at qweight: copy.deepcopy of a model raises once its layers were called"
VERDICTS = ("INPUT_CHANGED",)
ONLY = "history"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not hasattr(qweight, "lock"):
        qweight.lock = threading.Lock()
    with qweight.lock:
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
