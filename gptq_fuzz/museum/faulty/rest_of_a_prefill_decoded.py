"""A prefill in chunks of 512 rows; the rows behind them are too few for it, and are decoded."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "rows behind whole chunks are summed in another order, batch invariance is promised"
ONLY = "batchinv"
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits).double()
    rows = x.reshape(-1, x.shape[-1]).double()
    whole = len(rows) // 512 * 512
    steps = (len(w), 8 if whole else len(w))
    outs = [
        sum((a @ b).float() for a, b in zip(part.split(step, 1), w.split(step), strict=True))
        for part, step in zip((rows[:whole], rows[whole:]), steps, strict=True)
    ]
    return torch.cat(outs).reshape(*x.shape[:-1], w.shape[1]).to(x.dtype)


f = Backend(
    "rest_of_a_prefill_decoded",
    Limits(dtypes=("f32",), bad=(), refuses_outside=False, conditions=("batchinv",)),
    matmul=matmul,
)
