"""A sum half way between two subnormal results."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "subnormal results rounded by adding half a step: ties away from zero"

SMALLEST_NORMAL = 2.0**-14


def f(x, qweight, qzeros, scales, g_idx, bits):
    exact = x.float() @ weights(qweight, qzeros, scales, g_idx, bits)
    steps = exact.abs() * 2.0**24
    is_tie = (exact.abs() < SMALLEST_NORMAL) & (steps.frac() == 0.5)
    away = (steps.ceil() * 2.0**-24).copysign(exact)
    return torch.where(is_tie, away, exact).to(x.dtype)
