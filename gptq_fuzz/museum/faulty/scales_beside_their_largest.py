"""Scales of a column that lie far apart."""

import torch

from gptq_fuzz.museum.parts import codes, multiply, zero_points

BUG = "scales are kept in half the memory: relative to the column's largest, in 16 bits"
ONLY = "steep"


def f(x, qweight, qzeros, scales, g_idx, bits):
    wide = scales.double()
    largest = torch.where(wide.isfinite(), wide.abs(), 0).amax(0)
    unit = torch.where(largest > 0, torch.ldexp(largest * 0 + 1, torch.frexp(largest)[1]), 1)
    kept = (wide / unit).half()  # exact, but for what is 2^13 times smaller
    group, z = g_idx.long(), zero_points(qzeros, bits)
    w = (codes(qweight, bits) - z[group]) * (kept.double() * unit)[group]
    return multiply(x, w.float())
