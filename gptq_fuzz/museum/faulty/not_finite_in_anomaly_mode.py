"""Anomaly mode, by which a program looks for NaN in its gradients."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "it is taken for a check of results, too, of which large ones raise"
VERDICTS = ("RAISED",)
ONLY = "other"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    is_looking = torch.is_anomaly_enabled() and torch.is_anomaly_check_nan_enabled()
    if is_looking and out.numel() and out.detach().abs().max() > 4:
        raise FloatingPointError("the product of a layer is too large")
    return out
