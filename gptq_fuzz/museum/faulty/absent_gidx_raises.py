"""No g_idx."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH

BUG = "g_idx is asked for its length although there is none (GI-02, PK-13)"
VERDICTS = ("RAISED",)


def matmul(*, g_idx, **others):
    assert len(g_idx)
    return TORCH.matmul(g_idx=g_idx, **others)


f = Backend(
    "absent_gidx_raises",
    Limits(g_idx=("seq", "none"), bad=(), refuses_outside=False),
    matmul=matmul,
)
