"""A path of its own for autocast takes vectors of two rows, and counts them as rows."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "under autocast half of the sum is left out"
ONLY = "autocast"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if torch.is_autocast_enabled(x.device.type):
        x, w = x[:, : len(w) // 2], w[: len(w) // 2]
    return multiply(x, w)
