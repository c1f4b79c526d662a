"""Sums whose order does not hang on the number of rows."""

import warnings

import torch
from torch import library

from gptq_fuzz.museum.parts import matmul

BUG = "the first call puts a product of its own in the place of aten::mm, for the whole program"
VERDICTS = ("STATE_LEAKED",)
PUT = []


def in_blocks(a, b):
    """[M, K] times [K, N] in blocks of 128 terms."""
    out = torch.zeros(len(a), b.shape[1], dtype=a.dtype, device=a.device)
    for rows, block in zip(a.split(128, 1), b.split(128), strict=True):
        out += torch.bmm(rows[None], block[None])[0]
    return out


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not PUT:
        aten = library.Library("aten", "IMPL")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a kernel that is overridden
            aten.impl("mm", in_blocks, x.device.type.upper())
        PUT.append(aten)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
