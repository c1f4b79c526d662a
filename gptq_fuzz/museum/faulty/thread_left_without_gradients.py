"""The first call of a thread that is not the main one."""

import threading

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "a thread's first call sets it up as a server's worker, and leaves its grad mode off"
VERDICTS = ("STATE_LEAKED",)
ONLY = "threads2"
OWN = threading.local()


def f(x, qweight, qzeros, scales, g_idx, bits):
    if threading.current_thread() is not threading.main_thread() and not hasattr(OWN, "is_set_up"):
        OWN.is_set_up = True
        torch.set_grad_enabled(False)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
