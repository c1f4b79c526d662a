"""One substitution that explains a wrong value: which code, zero-point or scale was used instead.

Possible where a row of x has one non-zero, so that an output is a single product.
"""

from __future__ import annotations

import torch

from .judge import Finding
from .operands import Operands
from .rounding import FORMATS, round_to


def explain(finding: Finding, operands: Operands) -> str:
    """`the scale of group 2 for group 3`, or "" where no single substitution gives the value."""
    case, values = operands.case, operands.values
    if case.fill not in ("onehot", "lanes") or case.backward or case.bias:
        return ""
    row, column = finding.worst()
    k = int(values.left[row].abs().argmax())
    group = int(values.g_idx[k])
    x, out = values.left[row, k], finding.out[row, column]
    q, z, s = values.codes, values.zeros, values.scales
    here = q[k, column], z[group, column], s[group, column]
    attempts = (
        (f"zero-point {{}} for {int(here[1])}", here[0], _around(z[group, column], case), here[2]),
        (f"the code of row {{}} for row {k}", q[:, column], here[1], here[2]),
        (f"the code of column {{}} for column {column}", q[k], here[1], here[2]),
        (f"the zero-point of group {{}} for group {group}", here[0], z[:, column], here[2]),
        (f"the scale of group {{}} for group {group}", here[0], here[1], s[:, column]),
        (f"the scale of column {{}} for column {column}", here[0], here[1], s[group]),
        (f"group {{}} for group {group}", here[0], z[:, column], s[:, column]),
        (f"column {{}} for column {column}", q[k], z[group], s[group]),
        (f"row {{}} for row {k}", q[:, column], z[values.g_idx, column], s[values.g_idx, column]),
    )
    for words, code, zero, scale in attempts:
        place = _match(out, x * (code - zero) * scale, FORMATS[case.dtype])
        if place is not None:
            return words.format(_named(place, words, zero))
    return ""


def _around(zero: torch.Tensor, case) -> torch.Tensor:
    """The zero-points that packing mistakes give: one off, unwrapped, none."""
    return torch.stack([zero - 1, zero + 1, zero + case.maxq + 1, zero * 0])


def _named(place: int, words: str, zero: torch.Tensor) -> int:
    return int(zero[place]) if words.startswith("zero-point") else place


def _match(out: torch.Tensor, products: torch.Tensor, fmt) -> int | None:
    """The one place whose product rounds to `out`; None if none does or several differ from it."""
    same = (round_to(products, fmt) == out).nonzero().flatten()
    return int(same[0]) if same.numel() else None
