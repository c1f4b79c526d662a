"""What a product starts from has the default dtype where that is wider than float32."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "float64 by default makes factors of two dtypes: the product raises"
VERDICTS = ("RAISED",)
ONLY = "deff64"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    start = torch.zeros(w.shape[1], device=x.device) + w.new_zeros(())
    start = start.to(torch.promote_types(torch.get_default_dtype(), torch.float32))
    return torch.addmm(start, x.float(), w).to(x.dtype)
