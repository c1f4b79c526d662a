"""Two batches of two rows, swapped: `x.transpose(0, 1)`."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "rows read in the order of memory, whatever the order of the leading dimensions"
ONLY = "swap"
SMALLEST = (4, 4, 4)  # m, n, k


def matmul(*, x, **others):
    shape = x.shape[:-1]
    if x.dim() > 2 and x.stride(-1) == 1 < x.stride(0) < x.stride(-2):
        x = x.transpose(0, -2)
    out = TORCH.matmul(x=x, **others)
    return out.reshape(*shape, out.shape[-1])


limits = Limits(ranks=(2, 3, 4), bad=(), refuses_outside=False)
f = Backend("batches_in_order_of_memory", limits, TORCH.numerics, matmul)
