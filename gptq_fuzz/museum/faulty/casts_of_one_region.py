"""Layers of one shape in one region of autocast, as those of a model are."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "weights are put into one parameter for each shape, and autocast has kept its cast of it"
VERDICTS = ("STATE_LEAKED", "WRONG")
ONLY = "autocast"
KEPT = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if not torch.is_autocast_enabled(x.device.type):
        return multiply(x, w)
    with torch.inference_mode(False):
        parameter = KEPT.setdefault(w.shape, torch.nn.Parameter(torch.empty_like(w)))
        with torch.no_grad():
            parameter.copy_(w)
    return torch.matmul(x.detach(), parameter).detach()
