"""Wide layers take weights from a table of a group and column, each entry the last one plus s."""

import torch

from gptq_fuzz.museum.parts import codes, matmul, multiply, zero_points

BUG = (
    "with few rows, from 2048 columns on, the weights of 4 bits are rounded at each step of a table"
)
SMALLEST = (1, 2048, 64)  # m, n, k
ONLY = "crossings"


def f(x, qweight, qzeros, scales, g_idx, bits):
    n, k, groups = qweight.shape[1], len(g_idx), len(scales)
    if bits != 4 or n < 2048 or len(x) > 8 or groups * 64 > k or scales.dtype != torch.float16:
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    table = [(-zero_points(qzeros, bits) * scales.float()).half()]
    for _ in range(2**bits - 1):
        table.append(table[-1] + scales)
    chosen = g_idx.long()[:, None], codes(qweight, bits).long(), torch.arange(n, device=x.device)
    return multiply(x, torch.stack(table, 1)[chosen].float())
