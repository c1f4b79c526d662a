"""One product shows it. Results in the subnormal range are rounded."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "result rounded toward zero"

LOST = 2**13 - 1  # the 13 bits by which a float32 mantissa is longer than a float16 one


def f(x, qweight, qzeros, scales, g_idx, bits):
    exact = x.float() @ weights(qweight, qzeros, scales, g_idx, bits)
    return (exact.view(torch.int32) & ~LOST).view(torch.float32).to(x.dtype)
