"""Batch invariance: a row's bits depend neither on the number of rows, nor on its place, nor on
what the other rows hold.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import codes_in_words
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import (
    answer,
    loaded,
    same_bits,
    with_another_x,
    with_x,
    wrong,
)
from gptq_fuzz.problem.fills import make_values
from gptq_fuzz.problem.operands import Operands, judged_on

MOST = 257
ROWS = (1, 4, 16, 64)
MORE_ROWS = (2, 3, 5, 7, 8, 12, 15, 24, 32, 33, 48, 96, 128, 129, 200)
PLACES = 3
ROWS_BEFORE = (512, 1024, 2048)  # in whole chunks of a prefill, which the rows of a batch follow
EXACT = ("exact", "sparse")
OUTLIER = 1e4  # an activation as large as layers of models meet; finite in every format
# Terms of a sum, a few of the tiles that kernels take of K at a time; and columns, few of which do
TERMS, COLUMNS = 512, 16


def same_bits_in_any_batch(exam) -> Verdict | None:
    """Rows of a batch of 257 in smaller batches of their own, of this layer and of one whose sums
    are all rounding; of this one all but one row beside an outlier in that one.
    """
    ranks = exam.limits.ranks
    shape = {"rank": exam.case.rank, "layout": exam.case.layout}
    if "" in exam.limits.layouts:
        shape = {"rank": 2 if 2 in ranks else max(ranks), "layout": ""}
    if exam.case.fill in EXACT and "randn" in exam.limits.fills:
        shape["fill"] = "randn"  # in any order sums of the others have the same bits
    whole = with_another_x(exam, m=MOST, **shape)
    multiply = loaded(exam, whole)
    out = answer(exam, multiply, whole)
    if found := wrong(exam, exam.expectation(whole).check(out), f" of {MOST} rows"):
        return found
    everywhere = [(m, at) for m in ROWS for at in range(PLACES)]
    if found := _in_smaller_batches(exam, multiply, whole, out, everywhere):
        return found
    spoilt = MOST // 2
    left = whole.values.left.clone()
    left[spoilt, exam.case.seed % exam.case.k] = OUTLIER
    beside = answer(exam, multiply, with_x(exam, left, m=MOST, **shape))
    others = torch.arange(MOST, device=out.device) != spoilt
    if not same_bits(beside[others], out[others]):
        message = f"other rows have other bits where row {spoilt} of {MOST} holds {OUTLIER:g}"
        return exam._result(kinds.WRONG, message)
    return _of_rounding_alone(exam, shape)


def _in_smaller_batches(exam, multiply, whole: Operands, out, sizes) -> Verdict | None:
    """So many rows, and where: the first of the batch, the middle ones or the last."""
    for m, at in sizes:
        if m < exam.limits.m_least:
            continue
        first = (MOST - m) * (at % PLACES) // (PLACES - 1)
        rows = slice(first, first + m)
        part = with_x(exam, whole.values.left[rows], whole, **_form(whole, m))
        if not same_bits(answer(exam, multiply, part), out[rows]):
            named = f"rows {rows.start} to {rows.stop - 1}"
            message = f"{named} of {MOST} have other bits in a batch of {m}"
            return exam._result(kinds.WRONG, message)
    return None


def _form(operands: Operands, m: int) -> dict:
    """What a case has to say for so many rows of these operands."""
    names = ("n", "k", "group_size", "rank", "layout", "fill", "bias")
    return {name: getattr(operands.case, name) for name in names} | {"m": m}


def _of_rounding_alone(exam, shape: dict) -> Verdict | None:
    """A layer whose weights are alike along K, and x whose later half is the first one negated: the
    result is what the sums' order leaves of their roundings, so that another order shows.
    """
    limits = exam.limits
    _, n, k = limits.units(codes_in_words(exam.case.bits))
    sizes = {"n": -(-COLUMNS // n) * n, "k": -(-TERMS // (2 * k)) * 2 * k}
    fields = vars(exam.case) | shape | sizes | {"m": MOST, "bias": False}
    fields["fill"] = "randn" if "randn" in limits.fills else exam.case.fill
    try:
        case = Case(**limits.fitted(fields))
    except ValueError:
        return None
    if case.k % 2 or limits.violations(case.replace(condition="", state="")):
        return None
    values = make_values(case, judged_on(case, exam.device))
    left = values.left.clone()
    left[:, case.k // 2 :] = -left[:, : case.k // 2]
    mantissas = torch.frexp(values.scales).mantissa  # what is left of sums is then no subnormal
    zeros, scales = (each[:1].expand_as(each).clone() for each in (values.zeros, mantissas))
    largest = 2**case.bits - 1
    code = torch.where(zeros[:1] > largest // 2, 0, largest)  # far from the zero-point
    values = replace(
        values, codes=code.expand_as(values.codes).clone(), zeros=zeros, scales=scales, left=left
    )
    whole = Operands(case, exam.device, values=values, zones=exam.zones)
    multiply = loaded(exam, whole)
    out = answer(exam, multiply, whole)
    if found := _beside_zeros(exam, multiply, whole) or _behind_chunks(exam, multiply, whole, out):
        return found
    if found := _beside_negatives(exam, whole):
        return found
    each = [(m, at + exam.case.seed) for at, m in enumerate((*ROWS, *MORE_ROWS))]
    return _in_smaller_batches(exam, multiply, whole, out, each)


def _beside_zeros(exam, multiply, whole: Operands) -> Verdict | None:
    """Where every row has zeros in the same half of K, as behind a ReLU, and where all but one do:
    what may be left out of the sums of one batch may not be in another.
    """
    spoilt, half = exam.case.seed % MOST, whole.case.k // 2
    sparse = whole.values.left.clone()
    sparse[:, half // 4 + 3 : half // 4 + half // 2] = 0  # no whole blocks
    sparse[:, half:] = -sparse[:, :half]  # which leaves what is rounding alone
    mixed = sparse.clone()
    mixed[spoilt] = whole.values.left[spoilt]
    given = [with_x(exam, left, whole, **_form(whole, MOST)) for left in (sparse, mixed)]
    outs = [answer(exam, multiply, operands) for operands in given]
    others = torch.arange(MOST, device=outs[0].device) != spoilt
    if not same_bits(outs[0][others], outs[1][others]):
        message = f"other rows have other bits where row {spoilt} of {MOST} lacks their zeros"
        return exam._result(kinds.WRONG, message)
    return None


def _beside_negatives(exam, whole: Operands) -> Verdict | None:
    """Where no row has a negative number, as behind a ReLU, and where one has: of weights whose
    later half is the first one negated, so that sums are rounding alone here, too.
    """
    case, values = whole.case, whole.values
    largest, half = 2**case.bits - 1, whole.case.k // 2
    if largest == 1:  # no code lies on either side of a zero-point
        return None
    zeros = values.zeros.clamp(1, largest - 1)
    sign = torch.ones(case.k, 1, dtype=zeros.dtype, device=zeros.device)
    sign[half:] = -1
    positive = values.left[:, :half].abs().repeat(1, 2)
    layer = Operands(
        case,
        exam.device,
        values=replace(values, codes=zeros[values.g_idx] + sign, zeros=zeros, left=positive),
        zones=exam.zones,
    )
    mixed, spoilt = positive.clone(), exam.case.seed % MOST
    mixed[spoilt, 0] = -1
    multiply = loaded(exam, layer)
    outs = [
        answer(exam, multiply, with_x(exam, left, layer, **_form(whole, MOST)))
        for left in (positive, mixed)
    ]
    others = torch.arange(MOST, device=outs[0].device) != spoilt
    if not same_bits(outs[0][others], outs[1][others]):
        message = f"other rows have other bits where row {spoilt} of {MOST} holds a negative number"
        return exam._result(kinds.WRONG, message)
    return None


def _behind_chunks(exam, multiply, whole: Operands, out) -> Verdict | None:
    """The rows behind as many of them, over and over, as a prefill is cut into."""
    left = whole.values.left
    for before in ROWS_BEFORE:
        rows = torch.cat([left.repeat(-(-before // MOST), 1)[:before], left])
        outs = answer(exam, multiply, with_x(exam, rows, whole, **_form(whole, len(rows))))
        if not same_bits(outs[before:], out):
            message = f"rows have other bits behind {before} others than in a batch of {MOST}"
            return exam._result(kinds.WRONG, message)
    return None
