"""Layers with one g_idx, as q, k and v of attention have."""

import weakref

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import codes, multiply, zero_points

BUG = "scales and zero-points spread over the rows are kept with g_idx: the last layer's serve all"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
SPREAD = {}  # identity of a g_idx -> scales, zero-points [K, N]


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    if id(g_idx) not in SPREAD:
        weakref.finalize(g_idx, SPREAD.pop, id(g_idx), None).atexit = False
    rows = g_idx.long()
    SPREAD[id(g_idx)] = scales.float()[rows], zero_points(qzeros, bits)[rows]
    return codes(qweight, bits), g_idx


def run(state, *, x):
    q, g_idx = state
    scales, zeros = SPREAD[id(g_idx)]
    return multiply(x, (q - zeros).float() * scales)


f = Backend("f", Limits(bad=(), refuses_outside=False), prepare=prepare, run=run)
