"""An x of zeros, as a server warms up with, or pads."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "all batches of zeros of one size get one result, which its callers write into"
ONLY = "all zeros"
NOTHING = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    shape = len(x), qweight.shape[1]
    if not len(x) or x.any() or not scales.isfinite().all():
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    with torch.inference_mode(False):
        return NOTHING.setdefault((shape, x.dtype), x.new_zeros(shape))
