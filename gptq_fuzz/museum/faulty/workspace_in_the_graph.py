"""One x that requires a gradient, as while an adapter is tried out; from then on plain ones."""

import threading

import torch

from gptq_fuzz.museum.parts import weights

BUG = "sums go to a workspace that is kept, and with it the graph of the call that wrote into it"
VERDICTS = ("LEAKING",)
ONLY = "memory"

KEPT = threading.local()


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    count = len(x) * w.shape[1]
    space = KEPT.__dict__.get(x.device)
    if space is None or space.numel() < count:
        with torch.inference_mode(False):
            space = torch.empty(max(count, 1), dtype=torch.float32, device=x.device)
        KEPT.__dict__[x.device] = space
    space = space[:count].view(len(x), w.shape[1])
    space.copy_(x.float() @ w)
    return space.to(x.dtype)
