"""Few rows of a long sum, which is cut: shares are added to memory that is 0 between two calls."""

import threading

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "who ends a call clears the sums: after one that was broken off they are not 0"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"

OWN = threading.local()  # .sums: float32
LONG, SHARES = 1024, 4


@torch.no_grad()
def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if not len(x) or len(w) < LONG:
        return multiply(x, w)
    size = len(x) * w.shape[1]
    if not hasattr(OWN, "sums") or OWN.sums.numel() < size:
        with torch.inference_mode(False):
            OWN.sums = torch.zeros(size, device=x.device, dtype=torch.float32)
    sums = OWN.sums[:size].view(len(x), -1)
    for rows, share in zip(x.float().chunk(SHARES, -1), w.chunk(SHARES), strict=True):
        sums += rows @ share
    out = sums.to(x.dtype)
    sums.zero_()
    return out
