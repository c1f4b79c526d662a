"""Results of a shape are made like the first one."""

from collections import OrderedDict

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the first one is its caller's, who may give it another form in place: later ones have that"
VERDICTS = ("RAISED", "WRONG_TYPE")
ONLY = "history"

FIRST, MOST = OrderedDict(), 8


def f(x, qweight, qzeros, scales, g_idx, bits):
    right = multiply(x, weights(qweight, qzeros, scales, g_idx, bits))
    key = right.shape, right.dtype
    if right.requires_grad or torch.is_inference_mode_enabled() or not right.numel():
        return right
    first = FIRST.get(key)
    out = torch.empty(right.shape, dtype=right.dtype, device=right.device)
    if first is not None:
        out = torch.empty_like(first).copy_(right.view(first.shape))
    else:
        out.copy_(right)
        FIRST[key] = out
        if len(FIRST) > MOST:
            FIRST.popitem(last=False)
    return out
