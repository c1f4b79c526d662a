"""One row."""

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits

BUG = "bias added by the kernel and by its caller (DT-04)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, bias, **others):
    out = TORCH.matmul(bias=bias, **others)
    return out if bias is None else out + bias


f = Backend("bias_added_twice", Limits(bias=True, bad=(), refuses_outside=False), matmul=matmul)
