"""A path chosen once for each shape, when it pays."""

import torch

from gptq_fuzz.museum.parts import codes, multiply, weights, zero_points

BUG = "at the 64th call of a shape its layers are taken to be in order, as the one called then"
VERDICTS = ("STATE_LEAKED",)
ONLY = "calls500"
HOT, MOST = 64, 1024
_calls, _in_order = {}, {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    groups = len(scales)
    shape = len(g_idx), scales.shape[1], groups, bits
    if len(_calls) > MOST:
        _calls.clear()
        _in_order.clear()
    _calls[shape] = _calls.get(shape, 0) + 1
    if _calls[shape] == HOT:
        row = torch.arange(len(g_idx), device=g_idx.device, dtype=g_idx.dtype)
        equal = len(g_idx) % groups == 0 and torch.equal(g_idx, row // (len(g_idx) // groups))
        _in_order[shape] = equal
    if not _in_order.get(shape):
        return multiply(x, weights(qweight, qzeros, scales, g_idx, bits))
    q, z = codes(qweight, bits).unflatten(0, (groups, -1)), zero_points(qzeros, bits)
    return multiply(x, ((q - z[:, None]).float() * scales.float()[:, None]).flatten(0, 1))
