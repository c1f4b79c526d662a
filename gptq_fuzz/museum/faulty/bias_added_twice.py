"""One row."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "bias added by the kernel and by its caller (DT-04)"


def matmul(*, bias, **others):
    out = TORCH.matmul(bias=bias, **others)
    return out if bias is None else out + bias


f = Backend("bias_added_twice", Limits(bias=True, bad=(), refuses_outside=False), matmul=matmul)
