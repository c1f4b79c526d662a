"""A layer that the garbage collector frees in the middle of another one's call."""

import threading
import weakref

import torch

from gptq_fuzz.museum.parts import codes, multiply, zero_points

BUG = "what is kept of a layer is removed at its end, while another call searches the table"
VERDICTS = ("RAISED",)
ONLY = "history"
GROUPS = {}  # id of g_idx -> a copy of it, its values as an index
LOCK = threading.RLock()  # the same thread may come twice


def forget(key):
    with LOCK:
        GROUPS.pop(key, None)


def index_of(g_idx):
    with LOCK:
        for seen, index in GROUPS.values():
            if torch.equal(seen, g_idx):
                return index
        index = g_idx.long()
        if not g_idx.is_inference():
            GROUPS[id(g_idx)] = g_idx.clone(), index
            weakref.finalize(g_idx, forget, id(g_idx))
        return index


def f(x, qweight, qzeros, scales, g_idx, bits):
    g = index_of(g_idx)
    q, z = codes(qweight, bits), zero_points(qzeros, bits)
    return multiply(x, (q - z[g]).float() * scales[g].float())
