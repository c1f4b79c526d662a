"""Two groups, and g_idx of which every second element counts."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "stride of g_idx taken as 1 (L-03, LY-02)"


def matmul(*, g_idx, **others):
    if g_idx.stride(0) != 1:
        g_idx = g_idx.as_strided(g_idx.shape, (1,), g_idx.storage_offset())
        g_idx = g_idx.clamp(0, len(others["scales"]) - 1)
    return TORCH.matmul(g_idx=g_idx, **others)


f = Backend(
    "gidx_read_as_contiguous",
    Limits(strided=("gstr",), bad=(), refuses_outside=False),
    matmul=matmul,
)
