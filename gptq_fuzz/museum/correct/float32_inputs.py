"""float32 x and result: weights in float32, sums in float32 in blocks of 8."""

import torch

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import weights

BLOCK_SIZE_K = 8


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    out = torch.zeros(len(x), w.shape[1], dtype=torch.float32, device=x.device)
    for part, rows in zip(x.split(BLOCK_SIZE_K, dim=1), w.split(BLOCK_SIZE_K), strict=True):
        out += part @ rows
    return out


f = Backend(
    "float32_inputs",
    Limits(dtypes=("f32",), scales_dtypes=("sf16", "sf32"), bad=(), refuses_outside=False),
    Numerics(weights=("exact",), folds_zero=False),
    matmul,
)
