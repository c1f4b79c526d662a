"""Batch invariance: a row's bits depend neither on the number of rows, nor on its place, nor on
what the other rows hold.
"""

from __future__ import annotations

import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import (
    answer,
    loaded,
    same_bits,
    with_another_x,
    with_x,
    wrong,
)

ROWS = (1, 4, 16, 64, 257)
EXACT = ("exact", "sparse")
OUTLIER = 1e4  # an activation as large as layers of models meet; finite in every format


def same_bits_in_any_batch(exam) -> Verdict | None:
    """The first and the last rows of a batch of 257, in smaller batches of their own; all but one
    beside an outlier in that one.
    """
    most = ROWS[-1]
    ranks = exam.backend.limits.ranks
    shape = {"rank": 2 if 2 in ranks else max(ranks), "layout": ""}
    if exam.case.fill in EXACT and "randn" in exam.backend.limits.fills:
        shape["fill"] = "randn"  # in any order sums of the others have the same bits
    whole = with_another_x(exam, m=most, **shape)
    multiply = loaded(exam, whole)
    out = answer(exam, multiply, whole)
    if found := wrong(exam, exam.expectation(whole).check(out), f" of {most} rows"):
        return found
    least = exam.backend.limits.m_least
    for m in (m for m in ROWS[:-1] if m >= least):
        for rows in (slice(0, m), slice(most - m, most)):
            part = with_x(exam, whole.values.left[rows], m=m, **shape)
            if not same_bits(answer(exam, multiply, part), out[rows]):
                named = f"rows {rows.start} to {rows.stop - 1}"
                message = f"{named} of {most} have other bits in a batch of {m}"
                return exam._result(kinds.WRONG, message)
    spoilt = most // 2
    left = whole.values.left.clone()
    left[spoilt, exam.case.seed % exam.case.k] = OUTLIER
    beside = answer(exam, multiply, with_x(exam, left, m=most, **shape))
    others = torch.arange(most, device=out.device) != spoilt
    if not same_bits(beside[others], out[others]):
        message = f"other rows have other bits where row {spoilt} of {most} holds {OUTLIER:g}"
        return exam._result(kinds.WRONG, message)
    return None
