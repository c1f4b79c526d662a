"""Needs zero-points with fractions, as HQQ's calibration gives them."""

import torch

from gptq_fuzz import Backend, Limits

BUG = "zero-points are cut to integers when a layer is loaded"
ONLY = "zflt"
SMALLEST = (1, 4, 4)  # m, n, k


def prepare(*, codes, zeros, scales, g_idx, bias, bits, group_size):
    group = g_idx.long()
    return (codes.float() - zeros.to(torch.int32)[group]) * scales.float()[group]


def run(weight, *, x):
    return (x.float() @ weight).to(x.dtype)


f = Backend(
    "zero_points_cut_to_integers",
    Limits(zeros=("zall", "zflt"), bad=(), refuses_outside=False),
    operands="codes",
    prepare=prepare,
    run=run,
)
