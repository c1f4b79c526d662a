"""One layer asked with more rows first, then with its few rows where mapped memory ends.

What a kernel keeps of a layer may describe x too: where that is made anew for more rows alone, it
is too long for fewer, and what is read past x is thrown away.
"""

from __future__ import annotations

import torch

from gptq_fuzz.oracle.conditions.parts import answer, loaded, with_x
from gptq_fuzz.oracle.guard import at_edges

FEW = 64  # rows: a batch of a decoding engine, less than a tile
# Rows more of the calls before: more than a tile has, then as many as the kernel for few rows takes
MORE = (64, 4)
ROOM = 2**22  # elements between the rows of all layouts, above which x would take too much memory
BEHIND_X = "behind x, after calls with more rows,"


def can_have_more(exam) -> bool:
    """Whether the case has few rows, and could have had more."""
    case = exam.case
    is_small = 0 < case.m <= FEW and case.layout_amount <= ROOM // FEW
    return is_small and case.rank != 1 and bool(_more(exam))


def _more(exam) -> list[int]:
    rows = [exam.case.m + more for more in MORE]
    return [m for m in rows if not exam.limits.violations(exam.case.replace(m=m))]


def after_more(exam) -> torch.Tensor:
    """The result for the case's own rows, of a layer that was asked for more of them before."""
    left, moved = exam.operands.values.left, at_edges(exam.operands, "behind", ("left",))
    multiply = loaded(exam, exam.operands)
    for m in _more(exam):
        rows = left.repeat(-(-m // len(left)), 1)[:m]
        answer(exam, multiply, with_x(exam, rows, m=m))
    out = answer(exam, multiply, moved)
    exam.require_intact(moved)
    return out
