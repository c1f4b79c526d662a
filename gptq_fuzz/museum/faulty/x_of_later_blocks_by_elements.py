"""K is dequantised a block at a time; the pointer to x moves on by elements."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "behind 4096 rows of K the column stride of x is left out"
SMALLEST = (2, 4, 4100)  # m, n, k
ONLY = "crossings"
BLOCK = 4096  # rows of K that are dequantised together


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    step = x.stride(-1) if x.dim() == 2 else 1
    if step < 2 or len(w) <= BLOCK:
        return multiply(x, w)
    found = torch.zeros(len(x), w.shape[1], device=x.device)
    for at in range(0, len(w), BLOCK):
        rows = w[at : at + BLOCK]
        place = x.storage_offset() + at
        found += x.as_strided((len(x), len(rows)), x.stride(), place).float() @ rows
    return found.to(x.dtype)
