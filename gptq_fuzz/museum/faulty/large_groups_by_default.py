"""A group size above 1024 that is given as a number."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "group size above 1024 taken as 128: rows after the last group are lost (GI-13)"
SMALLEST = (1, 4, 1028)  # m, n, k
ONLY = "groups"


def matmul(*, x, scales, group_size, **others):
    if group_size > 1024:
        x = x.clone()
        x[..., 128 * len(scales) :] = 0
    return TORCH.matmul(x=x, scales=scales, group_size=group_size, **others)


f = Backend("large_groups_by_default", Limits(bad=(), refuses_outside=False), matmul=matmul)
