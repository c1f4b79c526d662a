"""Layers whose g_idx are the first rows of one table."""

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "rows that rise are looked for once in a g_idx known by its address, without its length"
VERDICTS = ("RAISED", "STATE_LEAKED")
ONLY = "history"
ORDERS = {}


def order_of(g_idx):
    if g_idx._base is None or g_idx.is_inference():
        return torch.argsort(g_idx, stable=True)
    key = g_idx._base.data_ptr(), g_idx._version
    known, base = ORDERS.get(key, (None, None))
    if base is not g_idx._base:
        known = torch.argsort(g_idx, stable=True)
        ORDERS[key] = known, g_idx._base
    return known


def f(x, qweight, qzeros, scales, g_idx, bits):
    order = order_of(g_idx)
    q, z = codes(qweight, bits)[order], zero_points(qzeros, bits)
    return multiply(x[:, order], dequantize(q, z, scales, g_idx[order]))
