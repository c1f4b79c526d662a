"""Right where new memory is zero, as fresh pages are."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "counters of finished blocks in memory that nobody has cleared (BF-09, AC-01)"
ONLY = "poison"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    done = torch.empty(len(x), dtype=torch.int32, device=x.device)
    return out.masked_fill((done > 0)[:, None], 0)
