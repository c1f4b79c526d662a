"""An idle rank, or an expert without tokens, makes the first call of a layer."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import multiply, weights

BUG = "a layer is unpacked by the first call's blocks of rows: one of no rows leaves it empty"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    return {"packed": (qweight, qzeros, scales, g_idx, bits), "weight": None}


def run(state, *, x):
    if state["weight"] is None:
        _, _, scales, g_idx, _ = state["packed"]
        empty = torch.zeros(len(g_idx), scales.shape[1], device=x.device)
        state["weight"] = weights(*state["packed"]) if len(x) else empty
    return multiply(x, state["weight"])


f = Backend("f", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run)
