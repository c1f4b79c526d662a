"""One sum in the middle of two float16 numbers, of a row of x that is mostly not 0."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "result rounded to nearest, ties away from zero"
ONLY = "exact"


def f(x, qweight, qzeros, scales, g_idx, bits):
    exact = x.float() @ weights(qweight, qzeros, scales, g_idx, bits)
    even = exact.to(x.dtype)
    other = (even.float() + 2 * (exact - even.float())).to(x.dtype)
    is_dense = (x != 0).sum(1, keepdim=True) * 2 > x.shape[1]
    is_dense &= (x.abs() < 2**14).all(1, keepdim=True) & (x.abs() > 4).any(1, keepdim=True)
    is_tie = is_dense & (other.float() - exact == exact - even.float()) & (other != even)
    return torch.where(is_tie & (other.abs() > even.abs()), other, even)
