"""Takes x as it lies where its rows are contiguous, a copy elsewhere; whole words from anywhere."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH


def matmul(*, x, **others):
    rows = x.reshape(-1, x.shape[-1])
    if rows.stride(1) != 1 or rows.stride(0) < rows.shape[1]:
        rows = rows.contiguous()
    out = TORCH.matmul(x=rows, **others)
    return out.view(*x.shape[:-1], out.shape[-1])


limits = Limits(ranks=(2, 1, 3, 4), bad=(), refuses_outside=False)
f = Backend("copies_strided_x", limits, TORCH.numerics, matmul)
