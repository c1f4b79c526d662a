"""Rounds in float32: blocks of 32 rows add to the result in an order that differs at each call."""

import random

import torch

from gptq_fuzz.museum.parts import weights

TURN = random.Random()  # its own, seeded by the system: Python's global one stays as it is
BLOCK_SIZE_K = 32


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    blocks = [*zip(x.float().split(BLOCK_SIZE_K, dim=1), w.split(BLOCK_SIZE_K), strict=True)]
    TURN.shuffle(blocks)
    out = torch.zeros(len(x), w.shape[1], dtype=torch.float32, device=x.device)
    for part, rows in blocks:
        out += part @ rows
    return out.to(x.dtype)
