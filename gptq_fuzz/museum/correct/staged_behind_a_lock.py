"""Layers unpacked by way of one staging buffer, which whoever loads one has to itself."""

import threading

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

STAGES = {}
LOCK = threading.Lock()


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    with LOCK:
        w = weights(qweight, qzeros, scales, g_idx, bits)
        key = w.shape, w.device
        if key not in STAGES:
            with torch.inference_mode(False):  # else it could be written in that mode alone
                STAGES[key] = torch.empty(w.shape, dtype=w.dtype, device=w.device)
        return STAGES[key].copy_(w).clone()


def run(state, *, x):
    return multiply(x, state)


f = Backend("staged_behind_a_lock", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run)
