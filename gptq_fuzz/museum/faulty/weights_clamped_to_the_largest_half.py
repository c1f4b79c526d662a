"""Weights are converted to float16 by a function that saturates."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a weight above the largest float16 becomes that, where it is infinite or not rounded"
ONLY = "heavy"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    half = w.half().float()
    return multiply(x, torch.where(half.isinf() & w.isfinite(), w.clamp(-65504, 65504), half))
