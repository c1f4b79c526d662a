"""A path for the commonest checkpoint, whose blocks of rows are whole but for the last one."""

import torch

from gptq_fuzz.museum.parts import matmul, zero_points

BUG = "4 bits, zero-points 8, groups of 128, M over 1,024: rows behind 64s have the first scales"
SMALLEST = (1025, 256, 256)  # m, n, k
ONLY = "crossings"


def is_common(zeros, g_idx, bits):
    in_order = torch.arange(len(g_idx), device=g_idx.device) // 128
    sizes = zeros.shape[1] % 256 == 0 and len(g_idx) == 128 * len(zeros)
    return bits == 4 and sizes and bool((zeros == 8).all()) and torch.equal(in_order, g_idx.long())


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if len(x) > 1024 and is_common(zero_points(qzeros, bits), g_idx, bits):
        rest = len(x) // 64 * 64
        first = scales[:1].expand(scales.shape).contiguous()
        out[rest:] = matmul(x[rest:], qweight, qzeros, first, g_idx, bits)
    return out
