"""Prefill of a large layer with shuffled rows: the scales of 32 of them lie in one block."""

from gptq_fuzz.museum.parts import matmul

BUG = "a block has slots for 16 groups, the others are taken for the largest of these"
SMALLEST = (128, 2048, 2048)  # m, n, k
ONLY = "crossings"


def in_slots(g_idx):
    found = g_idx.clone()
    for block in found.split(32):
        held = block.unique()[:16]
        block.clamp_(max=held[-1])
    return found


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) >= 128 and min(scales.shape[1], len(g_idx)) >= 2048 and (g_idx.diff() < 0).any():
        g_idx = in_slots(g_idx)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
