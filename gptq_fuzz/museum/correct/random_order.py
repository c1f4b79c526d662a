"""Rounds in float32 in another order at each call, so bits may differ; then once to the result."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

ORDER = torch.Generator()  # its own: torch's global state stays as it is


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    order = torch.randperm(len(w), generator=ORDER, device="cpu").to(x.device)
    return multiply(x[:, order], w[order])
