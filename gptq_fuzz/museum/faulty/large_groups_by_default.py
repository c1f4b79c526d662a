"""A group size above 1024 that is said as a number."""

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import Backend, Limits

BUG = "group size above 1024 taken as 128: rows after the last group are lost (GI-13)"
VERDICTS = ("WRONG",)
SMALLEST = (1, 4, 1028)  # m, n, k


def matmul(*, x, scales, group_size, **others):
    if group_size > 1024:
        x = x.clone()
        x[..., 128 * len(scales) :] = 0
    return TORCH.matmul(x=x, scales=scales, group_size=group_size, **others)


f = Backend("large_groups_by_default", Limits(bad=(), refuses_outside=False), matmul=matmul)
