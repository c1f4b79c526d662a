"""Calls in inference mode, for more rows each time, then calls outside."""

import threading

import torch

from gptq_fuzz.museum.parts import weights

BUG = "scratch memory that grows is made in inference mode too: outside it cannot be written again"
VERDICTS = ("RAISED",)
ONLY = "history"
KEPT = threading.local()  # .scratch: float32, of the largest result so far


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    size = len(x) * w.shape[1]
    scratch = getattr(KEPT, "scratch", None)
    if scratch is None or scratch.numel() < size or scratch.device != x.device:
        scratch = KEPT.scratch = torch.empty(size, dtype=torch.float32, device=x.device)
    out = scratch[:size].view(len(x), w.shape[1])
    out.copy_(x.detach().float() @ w)
    return out.to(x.dtype)
