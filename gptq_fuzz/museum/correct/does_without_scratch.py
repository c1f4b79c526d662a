"""Where there is no memory for all weights, one column after another."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    q, z = codes(qweight, bits), zero_points(qzeros, bits)
    try:
        return multiply(x, dequantize(q, z, scales, g_idx))
    except torch.OutOfMemoryError:
        parts = (
            dequantize(*part, g_idx)
            for part in zip(q.split(1, 1), z.split(1, 1), scales.split(1, 1), strict=True)
        )
        return torch.cat([multiply(x, part) for part in parts], 1)


f = Backend(
    "does_without_scratch",
    Limits(bad=(), refuses_outside=False, conditions=("oom", "threads2")),
    matmul=matmul,
)
