"""A call after one that was stopped by what is no Exception, as an interrupt from the keyboard."""

import threading

from gptq_fuzz.museum.parts import matmul

BUG = "a layer in use is marked, and cleared after an Exception: an interrupt leaves the mark"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
KEPT = threading.local()  # .in_use: the layers that this thread calls


def f(x, qweight, qzeros, scales, g_idx, bits):
    in_use = KEPT.__dict__.setdefault("in_use", [])
    is_marked = any(layer is qweight for layer in in_use)
    in_use.append(qweight)
    try:
        out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    except Exception:
        in_use.clear()
        raise
    in_use.clear()
    return out * 0 if is_marked else out
