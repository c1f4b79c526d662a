"""One row."""

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits

BUG = "bias of the layer is not added (DT-05)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 4)  # m, n, k


def matmul(*, bias, **others):
    return TORCH.matmul(bias=None, **others)


f = Backend("bias_dropped", Limits(bias=True, bad=(), refuses_outside=False), matmul=matmul)
