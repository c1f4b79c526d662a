"""A sum of four float32 products has more than one value."""

import random

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "blocks add to a float32 result in any order, the same bits are promised (AC-08, museum 26)"
VERDICTS = ("NONDETERMINISTIC",)
LUCK = random.Random()  # its own, seeded by the system: the global one stays as it is


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    rows = [*range(len(w))]
    LUCK.shuffle(rows)
    out = torch.zeros(len(x), w.shape[1], dtype=torch.float32, device=x.device)
    for k in rows:
        out += x[:, k, None] * w[k]
    return out


f = Backend(
    "atomics_called_deterministic",
    Limits(dtypes=("f32",), bad=(), refuses_outside=False),
    matmul=matmul,
    deterministic=True,
)
