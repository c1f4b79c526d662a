"""Sums in a tensor that is made without a dtype: float32 by default, bfloat16 under that."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "accumulator of the default dtype unless that is float16: a server sets it to bfloat16"
ONLY = "defbf16"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    out = torch.zeros(len(x), w.shape[1], device=x.device)
    out = out.float() if out.dtype == torch.float16 else out
    for start in range(0, len(w), 32):
        out += x[:, start : start + 32].float() @ w[start : start + 32]
    return out.to(x.dtype)
