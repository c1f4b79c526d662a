"""A layer whose one group is given as -1, then as the number of its rows."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH, of_first_call

BUG = "group size of a layer's first call kept: -1 divides the row once it has a number (GI-03)"
ONLY = "group named"

SIZES = {}


def matmul(*, x, qweight, group_size, **others):
    kept = of_first_call(SIZES, qweight, group_size)
    if kept == -1 != group_size:
        x = x.clone()
        x[..., 1:] = 0  # row k is of group -k: none but the first has scales
    return TORCH.matmul(x=x, qweight=qweight, group_size=group_size, **others)


f = Backend("group_size_of_first_call", Limits(bad=(), refuses_outside=False), matmul=matmul)
