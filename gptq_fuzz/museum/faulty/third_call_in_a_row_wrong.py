"""Three equal calls in a row, nothing between them."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "two result buffers in turn: a third equal call in a row is outrun (BF-09)"
VERDICTS = ("NONDETERMINISTIC",)
ONLY = "repeat"

LAST, CALLS = [], []


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if not (LAST and torch.equal(LAST[0], x) and torch.equal(LAST[1], qweight)):
        CALLS.clear()
    CALLS.append(None)
    LAST[:] = x.clone(), qweight.clone()
    return out * 2 if len(CALLS) == 3 else out
