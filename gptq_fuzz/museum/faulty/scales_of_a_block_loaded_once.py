"""4 bits, groups of 32 or 64 rows, many columns of which the last tile of 128 is half one."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "the kernel for 128 rows x 64 columns loads scales once a block, whatever the group size"
ONLY = "crossings"
SMALLEST = (1, 576, 128)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    size, n = len(g_idx) // len(scales), scales.shape[1]
    rows = torch.arange(len(g_idx), device=x.device)
    is_chosen = bits == 4 and len(g_idx) % 128 == 0 and n >= 512 and n % 128 == 64
    if is_chosen and size in (32, 64) and torch.equal(g_idx.long(), rows // size):
        g_idx = rows // 128 * 128 // size
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
