"""What has scales of 0 is left out: NaN and infinities of x that meet them are lost."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "a group whose scales are 0 in a block of columns is not multiplied, whatever x is there"
ONLY = "masked"
BLOCK = 32  # columns


def f(x, qweight, qzeros, scales, g_idx, bits):
    w, group = weights(qweight, qzeros, scales, g_idx, bits), g_idx.long()
    blocks = []
    for some, of_groups in zip(w.split(BLOCK, 1), scales.split(BLOCK, 1), strict=True):
        there = of_groups.ne(0).any(1)[group]
        blocks.append(x[..., there].float() @ some[there])
    return torch.cat(blocks, 1).to(x.dtype)
