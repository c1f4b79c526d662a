"""K is shared out to the threads of torch, and each has a place for its sum: sixteen have one."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "partial sums of more than 16 threads are written over those of others"
ONLY = "omp3"
SMALLEST = (1, 4, 20)  # m, n, k
SLOTS = 16


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    parts = torch.zeros(SLOTS, len(x), w.shape[1], dtype=torch.float32, device=x.device)
    threads, wide = torch.get_num_threads(), x.detach().float()
    for number, (a, b) in enumerate(zip(wide.chunk(threads, 1), w.chunk(threads), strict=True)):
        parts[number % SLOTS] = a @ b
    return parts.sum(0).to(x.dtype)
