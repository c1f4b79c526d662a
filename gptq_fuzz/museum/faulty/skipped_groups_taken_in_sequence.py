"""Groups of the right size in rising order, with groups without rows between them."""

import torch

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "as many groups as there should be, rising, are taken to follow each other"
ONLY = "odd"


def matmul(*, g_idx, group_size, **others):
    size = len(g_idx) if group_size == -1 else group_size
    found, counts = g_idx.unique_consecutive(return_counts=True)
    is_whole = len(found) == -(-len(g_idx) // size) and bool((counts[:-1] == size).all())
    if is_whole and (found.diff() > 0).all():
        g_idx = found[0] + torch.arange(len(g_idx), device=g_idx.device) // size
    return TORCH.matmul(g_idx=g_idx, group_size=group_size, **others)


f = Backend(
    "skipped_groups_taken_in_sequence",
    Limits(bad=(), refuses_outside=False),
    matmul=matmul,
)
