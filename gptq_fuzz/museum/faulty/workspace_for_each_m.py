"""Prompts have any length: a workspace for each is one for nearly every request."""

import threading

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "a layer keeps a workspace for each number of rows that ever came, as for captured batches"
VERDICTS = ("LEAKING",)
ONLY = "memory"
SMALLEST = (2, 4, 4)  # m, n, k


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    return weights(qweight, qzeros, scales, g_idx, bits), {}


def run(state, *, x):
    weight, spaces = state
    key = len(x), threading.get_ident()
    if key not in spaces:
        with torch.inference_mode(False):
            spaces[key] = torch.empty(len(x), weight.shape[1], device=x.device, dtype=torch.float32)
    spaces[key].copy_(x.detach().float() @ weight)
    return spaces[key].to(x.dtype)


f = Backend("f", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run)
