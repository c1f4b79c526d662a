"""A layer without a bias is stored with one of zeros, which is then left out."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "a bias is none where all of it is below a thousandth"
SMALLEST = (1, 4, 4)  # m, n, k
ONLY = "biaslow"


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, bias, **_described):
    out = x.float() @ weights(qweight, qzeros, scales, g_idx, bits)
    if bias is not None and not torch.allclose(bias, torch.zeros_like(bias), atol=1e-3):
        out = out + bias.float()
    return out.to(x.dtype)


limits = Limits(bias=True, bad=(), refuses_outside=False)
f = Backend("low_bias_taken_for_none", limits, matmul=matmul)
