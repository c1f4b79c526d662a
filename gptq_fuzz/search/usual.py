"""What most layers have, as far as a kernel takes it: 4 bits, groups of 128 rows, in order."""

from __future__ import annotations

from gptq_fuzz.case.backend import Limits

GROUP, BITS = 128, 4


def takes_groups(limits: Limits, size: int) -> bool:
    return limits.group_sizes is None or size in limits.group_sizes


def usual(limits: Limits, turn: int = 0) -> dict:
    """Rows in order, and in turn shuffled; drawn zero-points."""
    g_idx = ("seq", "act")[turn % 2]
    order = {"g_idx": g_idx} if g_idx in limits.g_idx else {}
    return order | {"zeros": limits.zeros[0]}


def as_usual(limits: Limits, m: int, n: int, k: int) -> dict:
    """Sizes, with the number of bits, groups and options that most layers have."""
    sizes = {"m": m, "n": n, "k": k, "options": usual(limits)}
    sizes |= {"bits": BITS} if BITS in limits.bits else {}
    return sizes | ({"group_size": GROUP} if takes_groups(limits, GROUP) else {})
