"""A call under autocast that is broken off."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "autocast is switched off for the product, and on again only where that comes to its end"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"


def f(x, qweight, qzeros, scales, g_idx, bits):
    kind = x.device.type
    was_enabled = torch.is_autocast_enabled(kind)
    torch.set_autocast_enabled(kind, False)
    out = multiply(x, weights(qweight, qzeros, scales, g_idx, bits))
    torch.set_autocast_enabled(kind, was_enabled)
    return out
