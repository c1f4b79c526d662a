"""An x that was transposed after it was made, as an activation of h.t() is."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "what fills its memory from its beginning is taken to be contiguous, in whatever order"
ONLY = "alone in memory"


def f(x, qweight, qzeros, scales, g_idx, bits):
    is_whole = x.untyped_storage().nbytes() == x.numel() * x.element_size()
    if is_whole and x.numel():
        x = torch.as_strided(x.detach(), x.shape, torch.empty(x.shape, device="meta").stride())
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
