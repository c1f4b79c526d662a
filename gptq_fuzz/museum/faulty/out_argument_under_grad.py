"""Writes into an output of its own by `out=`, which autograd refuses."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "raises for an x that requires grad, as where an adapter beside the layer is trained"
VERDICTS = ("RAISED",)
ONLY = "grad"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    out = torch.empty(len(x), w.shape[1], device=x.device, dtype=torch.float32)
    return torch.matmul(x.float(), w, out=out).to(x.dtype)
