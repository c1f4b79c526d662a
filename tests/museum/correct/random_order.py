"""Rounds in float32 in another order at each call, so bits may differ; then once to the result."""

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))
from museum_parts import multiply, weights

ORDER = torch.Generator()  # its own: torch's global state stays as it is


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    order = torch.randperm(len(w), generator=ORDER).to(x.device)
    return multiply(x[:, order], w[order])
