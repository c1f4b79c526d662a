"""Two threads, one in a projection up and one in that down."""

import threading

import torch

from gptq_fuzz.museum.parts import weights

BUG = "the scratch of K is locked, then that of N: of a layer from N to K the other way round"
VERDICTS = ("TIMED_OUT",)
ONLY = "threads2"
GUARD = threading.Lock()
LOCKS = {}


def locked(width):
    with GUARD:
        return LOCKS.setdefault(width, threading.RLock())


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    with locked(w.shape[0]):
        left = x.float().clone(memory_format=torch.contiguous_format)
        with locked(w.shape[1]):
            return (left @ w).to(x.dtype)
