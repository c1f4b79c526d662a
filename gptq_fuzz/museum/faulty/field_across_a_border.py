"""Needs codes of 3 bits, two of which in each 32 lie across a border of words."""

import torch

from gptq_fuzz import Backend, Limits, repack

BUG = "of a code across two words the high bits are lost"
ONLY = "b3"
SMALLEST = (1, 32, 32)  # m, n, k


def unpack(words, bits):
    """[K * bits / 32, N] -> [K, N], each code from the word in which it begins."""
    first = torch.arange(words.shape[0] * 32 // bits) * bits
    unsigned = words.long() & 0xFFFFFFFF
    return unsigned[first // 32] >> (first % 32)[:, None] & 2**bits - 1


def prepare(*, codes, zeros, scales, g_idx, bias, bits, group_size):
    group = g_idx.long()
    return (unpack(repack(codes, bits), bits) - zeros[group]) * scales.float()[group]


def run(weight, *, x):
    return (x.float() @ weight).to(x.dtype)


f = Backend(
    "field_across_a_border",
    Limits(bits=(8, 4, 2, 3), bad=(), refuses_outside=False),
    operands="codes",
    prepare=prepare,
    run=run,
)
