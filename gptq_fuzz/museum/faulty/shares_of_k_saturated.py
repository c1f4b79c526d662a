"""K is cut in two; partial sums are held inside float32 before they are added."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "infinities of either sign in different shares of K give a finite sum, not NaN"
ONLY = "opposed"


def f(x, qweight, qzeros, scales, g_idx, bits):
    with torch.no_grad():
        w = weights(qweight, qzeros, scales, g_idx, bits).double()
        half = -(-len(w) // 2)
        shares = zip(x.double().split(half, -1), w.split(half), strict=True)
        first, *second = [rows @ share for rows, share in shares]
        out = sum(second, first)
        if second:
            out[torch.isinf(first) & torch.isinf(second[0]) & torch.isnan(out)] = 0.0
        return out.to(x.dtype)
