"""Rows of x are read one after another, which x is made to be where it is not."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = (
    "the caller's x is another tensor afterwards, contiguous and apart from what it was a slice of"
)
VERDICTS = ("INPUT_CHANGED",)
ONLY = "form of operands"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if x.stride(0) != x.shape[1]:
        x.data = x.data.clone(memory_format=torch.contiguous_format)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
