"""A block of four products is enough: its three sums are rounded."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "sums rounded to float16 within blocks of 32, float32 between them (AC-04)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    total = torch.zeros(len(x), w.shape[1], dtype=torch.float32, device=x.device)
    for start in range(0, len(w), 32):
        part = x.new_zeros(total.shape)
        for k in range(start, min(start + 32, len(w))):
            part = (part + x[:, k, None].float() * w[k]).to(x.dtype)
        total += part
    return total.to(x.dtype)
