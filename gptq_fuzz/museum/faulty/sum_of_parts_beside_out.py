"""From 64 rows of qweight's codes on K is cut in two; the sum of the parts is right."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import matmul as product

BUG = "split-K returns the sum of its workspace, and leaves the out that was handed in as it was"
VERDICTS = ("WRONG_TYPE",)
SMALLEST = (1, 4, 64)
ONLY = "out"


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, out=None, **_):
    result = product(x, qweight, qzeros, scales, g_idx, bits)
    if out is None:
        return result
    if x.shape[-1] < 64:
        return out.copy_(result)
    workspace = torch.stack([result.float(), torch.zeros_like(result, dtype=torch.float32)])
    return workspace.sum(0).to(x.dtype)


f = Backend(
    "sum_of_parts_beside_out",
    Limits(bad=(), refuses_outside=False),
    matmul=matmul,
    accepts_out=True,
)
