"""Where the wrong elements of a result lie: rows, columns, groups, in words an engineer uses."""

from __future__ import annotations

import torch

from .case import Case
from .fills import Values

PERIODS = (2, 4, 8, 16, 32, 64, 128)
SHOWN = 4  # places listed before "and n more"


def locate(wrong: torch.Tensor, values: Values, case: Case) -> str:
    """[M, J] mask -> `row 16 only (tail of m % 16); all columns; groups 0, 2`."""
    rows = wrong.any(1).nonzero().flatten().tolist()
    columns = wrong.any(0).nonzero().flatten().tolist()
    parts = [_places("row", rows, case.m), _places("column", columns, case.columns)]
    groups = _groups(wrong, values, case)
    return "; ".join(parts + ([_places("group", groups, case.groups)] if groups else []))


def _places(noun: str, found: list[int], size: int) -> str:
    if len(found) == size:
        return f"all {noun}s" if size > 1 else f"the only {noun}"
    if found == list(range(found[0], size)):
        name = f"{noun} {found[0]}" if len(found) == 1 else f"{noun}s {found[0]} to {size - 1}"
        tail = [period for period in PERIODS if found[0] % period == 0 and found[0]]
        return f"{name} only" + (f" (tail of {size} % {tail[-1]})" if tail else "")
    for period in reversed(PERIODS):
        if len(found) > 1 and found == list(range(found[0] % period, size, period)):
            return f"every {period}th {noun} from {found[0]}"
    shown = ", ".join(map(str, found[:SHOWN]))
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"{noun}{'s' if len(found) > 1 else ''} {shown}{more} of {size}"


def _groups(wrong: torch.Tensor, values: Values, case: Case) -> list[int]:
    """The groups behind wrong elements; known only where each row of x has few non-zeros."""
    if case.backward or case.fill not in ("onehot", "lanes", "sparse"):
        return []
    touched = (values.left != 0)[wrong.any(1)].any(0)
    return values.g_idx[touched].unique().tolist()
