"""N = 4 lies behind the last whole block of 128 columns."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "activation order: columns after the last whole 128 are not permuted (MK-08, L-52)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    order = g_idx.argsort(stable=True)
    whole = w.shape[1] // 128 * 128
    permuted = torch.cat([w[order, :whole], w[:, whole:]], dim=1)
    return multiply(x[:, order], permuted)
