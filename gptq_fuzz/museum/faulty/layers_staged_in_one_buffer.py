"""Layers that several threads load at once, unpacked by way of scratch memory."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

BUG = "two threads that load a layer each write into one staging buffer"
VERDICTS = ("STATE_LEAKED",)
ONLY = "threads2"
STAGES = {}


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    key = w.shape, w.device
    if key not in STAGES:
        with torch.inference_mode(False):  # else it could be written in that mode alone
            STAGES[key] = torch.empty(w.shape, dtype=w.dtype, device=w.device)
    return STAGES[key].copy_(w).clone()


def run(state, *, x):
    return multiply(x, state)


f = Backend(
    "layers_staged_in_one_buffer", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run
)
