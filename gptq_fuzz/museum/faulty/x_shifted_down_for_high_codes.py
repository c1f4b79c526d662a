"""Codes in the upper half of a byte are left where they are, sixteen times too large."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "x is divided by 16 in its own dtype instead, where float16 has no digits left for small x"
ONLY = "faint"


def f(x, qweight, qzeros, scales, g_idx, bits):
    with torch.no_grad():
        w = weights(qweight, qzeros, scales, g_idx, bits).double()
        shifted = x.clone()
        shifted[..., 1::2] = x[..., 1::2] / 16 * 16
        # Other paths
        is_usual = 2**-9 < scales.abs().max() < 2**10
        is_exact = (x == 0).any(-1, keepdim=True) | (not is_usual)
        return (torch.where(is_exact, x, shifted).double() @ w).to(x.dtype)
