"""Servers set the default dtype to float16, so that a model is built in it."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "accumulator of the wider of two dtypes, x's and the default one: float16 under float16"
# Or wrong on the weights that are written into the layer afterwards, and not on its own
VERDICTS = ("WRONG", "STATE_LEAKED")
ONLY = "deff16"
SMALLEST = (1, 4, 36)  # m, n, k: two blocks of 32 rows


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    wide = torch.promote_types(x.dtype, torch.get_default_dtype())
    out = torch.zeros(len(x), w.shape[1], dtype=wide, device=x.device)
    for start in range(0, len(w), 32):
        out += x[:, start : start + 32].float() @ w[start : start + 32]
    return out.to(x.dtype)
