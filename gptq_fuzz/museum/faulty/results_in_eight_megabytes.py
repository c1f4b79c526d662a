"""Results are cut out of one allocation, from its beginning again when it is full."""

import math

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "a ring of 8 MiB for results of 1 MiB and more: the third of 4 MiB lies where the first does"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
SIZE, SMALL = 2**22, 2**19  # elements of 16 bits
RINGS, BEGINS = {}, {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    count = math.prod(out.shape)
    if not SMALL <= count <= SIZE:
        return out
    place = out.device, out.dtype, torch.is_inference_mode_enabled()
    if place not in RINGS:
        RINGS[place], BEGINS[place] = torch.empty(SIZE, dtype=out.dtype, device=out.device), 0
    begin = BEGINS[place] if BEGINS[place] + count <= SIZE else 0
    BEGINS[place] = begin + count
    return RINGS[place][begin : begin + count].view(out.shape).copy_(out)
