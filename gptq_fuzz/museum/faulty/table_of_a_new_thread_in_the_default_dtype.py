"""A new thread's first call while another default dtype is set."""

import threading

import torch

from gptq_fuzz.museum.parts import weights

BUG = "each thread makes its table of scales when it calls first, of the default dtype"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
MAIN = threading.get_ident()
KEPT = threading.local()  # .steps: what powers of two are multiplied with, a table


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not hasattr(KEPT, "one"):
        dtype = torch.float32 if threading.current_thread() is threading.main_thread() else None
        KEPT.one = torch.ones((), dtype=dtype, device="cpu")
    w = weights(qweight, qzeros, scales, g_idx, bits).to(KEPT.one.dtype)
    return (x.to(w.dtype) @ w).to(x.dtype)
