"""One row."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "bias of the layer is not added (DT-05)"


def matmul(*, bias, **others):
    return TORCH.matmul(bias=None, **others)


f = Backend("bias_dropped", Limits(bias=True, bad=(), refuses_outside=False), matmul=matmul)
