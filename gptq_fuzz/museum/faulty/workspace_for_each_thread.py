"""A thread for each request, as `Thread(target=model.generate)`, which ends with it."""

import threading

import torch

from gptq_fuzz.museum.parts import weights

BUG = "each thread has a workspace, so that none needs a lock; nobody takes it back from one ended"
VERDICTS = ("LEAKING",)
ONLY = "memory"
SMALLEST = (2, 4, 4)  # m, n, k

SPACES = {}  # native id of the thread, device -> float32


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    count, key = len(x) * w.shape[1], (threading.get_native_id(), x.device)
    space = SPACES.get(key)
    if space is None or space.numel() < count:
        with torch.inference_mode(False):
            space = SPACES[key] = torch.empty(max(count, 1), dtype=torch.float32, device=x.device)
    space = space[:count].view(len(x), w.shape[1])
    space.copy_(x.detach().float() @ w)
    return space.to(x.dtype)
