"""A group that is none, written into a g_idx that was right before."""

from dataclasses import replace

from gptq_fuzz.museum.parts import TORCH

BUG = "groups are looked at in the first call with a g_idx alone, as that waits for the device"
VERDICTS = ("FAILED_TO_REJECT",)
ONLY = "history"


def matmul(*, g_idx, scales, **operands):
    if not hasattr(g_idx, "looked_at"):
        if g_idx.numel() and not 0 <= int(g_idx.min()) <= int(g_idx.max()) < len(scales):
            raise ValueError(f"groups of g_idx must lie in 0 to {len(scales) - 1}")
        g_idx.looked_at = True
    return TORCH.matmul(g_idx=g_idx.clamp(0, len(scales) - 1), scales=scales, **operands)


limits = replace(TORCH.limits, bad=("gidx", "neg"), g_idx=("seq", "act"), backward=False)
f = replace(TORCH, name="gidx_looked_at_once", matmul=matmul, limits=limits)
