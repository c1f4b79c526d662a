"""Nothing differs after the call; a checkpoint that lies in a mapped file cannot be written."""

import threading

import torch

from gptq_fuzz.museum.parts import codes, dequantize, fields, multiply

BUG = "zero-points are made whole in place, and the words put back, under a lock"
VERDICTS = ("CRASHED",)
ONLY = "guarded"
LOCK = threading.Lock()


def f(x, qweight, qzeros, scales, g_idx, bits):
    with LOCK, torch.no_grad():
        words, plain = qzeros.clone(), qzeros.data
        plain.copy_(_whole(words, bits))
        z = fields(plain.clone(), bits).flatten(1)
        plain.copy_(words)
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))


def _whole(words, bits):
    """Words of fields one larger, modulo 2^bits."""
    shifts = torch.arange(0, 32, bits, dtype=torch.int32, device=words.device)
    raised = (fields(words, bits) + 1 & 2**bits - 1).long() << shifts
    return raised.sum(-1).to(torch.int32)
