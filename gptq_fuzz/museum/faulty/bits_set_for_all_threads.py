"""The shifts of a layer's codes are set at the beginning of its call, for all that unpack."""

import torch

from gptq_fuzz.museum.parts import dequantize, multiply

BUG = "two threads that call layers of different bits use each other's"
VERDICTS = ("STATE_LEAKED",)
ONLY = "threads2"


class Current:
    bits = 4


def fields(words):
    shifts = torch.arange(0, 32, Current.bits, dtype=torch.int32, device=words.device)
    return words.unsqueeze(-1) >> shifts & 2**Current.bits - 1


def f(x, qweight, qzeros, scales, g_idx, bits):
    Current.bits = bits
    n = scales.shape[1]
    try:
        q = fields(qweight).transpose(1, 2).flatten(0, 1)[: len(g_idx)]
        z = (fields(qzeros).flatten(1)[:, :n] + 1) & 2**Current.bits - 1
    except RuntimeError:  # of a shape that does not fit
        return x.new_zeros(*x.shape[:-1], n)
    if len(q) != len(g_idx) or z.shape != scales.shape:
        return x.new_zeros(*x.shape[:-1], n)
    return multiply(x, dequantize(q, z, scales, g_idx))
