"""Weights are made where no gradient is looked for; who has that on finds it off."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "anomaly mode is set to its default, not to what it was"
VERDICTS = ("STATE_LEAKED",)
ONLY = "other"


def f(x, qweight, qzeros, scales, g_idx, bits):
    torch.autograd.set_detect_anomaly(False)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
