"""Which products are timed: layers, bits, g_idx and rows of x, each as a Case."""

from __future__ import annotations

import itertools

from gptq_fuzz.case.case import Case

LAYERS = ((4096, 4096), (8192, 8192), (4096, 14336), (14336, 4096), (8192, 28672))  # K, N
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
BITS = (4, 8, 2)
G_IDX = ("seq", "act")
GROUP_SIZE = 128
FILL = "randn"  # its verdict says how much of the bound is used
QUICK_ROWS = (1, 16, 128, 2048)
SMALL_LAYER = (128, 64)  # where a kernel is interpreted: two tiles of K, or one
SMALL_ROWS = (1, 16)
SELECTIONS = ("quick", "all")


def point(m: int, k: int, n: int, bits: int = 4, g_idx: str = "seq") -> Case:
    """One product as a Case."""
    return Case(m=m, n=n, k=k, bits=bits, group_size=GROUP_SIZE, g_idx=g_idx, fill=FILL)


def points(selection: str, full_size: bool) -> list[Case]:
    """`all` or a `quick` share of the grid; not `full_size`: small problems in either case."""
    if not full_size:
        return _product(SMALL_ROWS, (SMALL_LAYER,), BITS, G_IDX)
    if selection == "all":
        return _product(ROWS, LAYERS, BITS, G_IDX)
    shuffled = _product(QUICK_ROWS, LAYERS[2:3], (4,), ("act",))
    others = _product(QUICK_ROWS, LAYERS[:1], (8, 2), ("seq",))
    return _product(QUICK_ROWS, LAYERS, (4,), ("seq",)) + shuffled + others


def _product(rows, layers, bits, kinds) -> list[Case]:
    every = itertools.product(bits, kinds, layers, rows)
    return [point(m, k, n, width, kind) for width, kind, (k, n), m in every]


def variant(case: Case) -> str:
    """`w4`, `w4act`: bits and order of rows, as in the peers' data."""
    return f"w{case.bits}" + ("" if case.g_idx == "seq" else case.g_idx)


def layer(case: Case) -> str:
    """`4096x14336`: K and N."""
    return f"{case.k}x{case.n}"
