"""Calls of one layer that overlap are one product."""

import threading

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "rows of calls that overlap are multiplied together, and cut into parts of one size"
VERDICTS = ("STATE_LEAKED", "WRONG_TYPE")
ONLY = "threads2"
GUARD = threading.Lock()
_waiting = {}  # layer -> x of those that came while its weight is made


def f(x, qweight, qzeros, scales, g_idx, bits):
    layer = qweight, qzeros, scales, g_idx
    if x.requires_grad or x.is_inference() or x.dim() != 2:
        return multiply(x, weights(*layer, bits))
    key = bits, x.dtype, *((id(part), part._version) for part in layer)
    with GUARD:
        joined = _waiting.get(key)
        is_first = joined is None
        if is_first:
            joined = _waiting[key] = [threading.Event(), [], None]
        place = len(joined[1])
        joined[1].append(x)
    done, rows, _ = joined
    if not is_first:
        done.wait()
        if joined[2] is None:  # the thread that it waited for was broken off
            return multiply(x, weights(*layer, bits))
        return joined[2][place]
    try:
        w = weights(*layer, bits)
    finally:
        with GUARD:
            del _waiting[key]
        if not rows[1:]:
            done.set()
    if not rows[1:]:
        return multiply(x, w)
    try:
        out = multiply(torch.cat(rows), w)
        joined[2] = [part.clone() for part in out.split(len(out) // len(rows))]
    finally:
        done.set()
    return joined[2][0]
