"""Batches of x that are one in memory, `x.expand(4, -1, -1)`, as for guidance or beams."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "multiplied once, and the result expanded: its batches are one in memory, too"
VERDICTS = ("WRONG_TYPE",)
ONLY = "expand"
SMALLEST = (4, 4, 4)  # m, n, k


def matmul(*, x, **others):
    if x.dim() == 3 and x.shape[0] > 1 and x.shape[1] > 1 and x.stride(0) == 0 < x.stride(1):
        return TORCH.matmul(x=x[0], **others).expand(len(x), -1, -1)
    return TORCH.matmul(x=x, **others)


limits = Limits(ranks=(2, 3), bad=(), refuses_outside=False)
f = Backend("batches_one_in_memory", limits, TORCH.numerics, matmul)
