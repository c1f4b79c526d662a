"""Batches of more than one row, a gap between them: `x[:, 3:]`, `x[::2]`."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "x flattened by the stride of its rows: a gap between batches is read as rows"
ONLY = "cut"
SMALLEST = (2, 4, 4)  # m, n, k


def matmul(*, x, **others):
    out_shape = x.shape[:-1]
    if x.dim() > 2 and x.stride(0) >= x.stride(-2):
        x = x.as_strided((out_shape.numel(), x.shape[-1]), x.stride()[-2:])
    out = TORCH.matmul(x=x, **others)
    return out.view(*out_shape, out.shape[-1])


limits = Limits(ranks=(2, 3, 4), bad=(), refuses_outside=False)
f = Backend("batches_follow_each_other", limits, TORCH.numerics, matmul)
