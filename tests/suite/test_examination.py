"""One case on one Backend: what surrounds the call, and what is asked more than once."""

import warnings
from dataclasses import replace

import pytest
import torch

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.oracle.relations import RELATIONS
from gptq_fuzz.oracle.surroundings import global_state, restore_state
from gptq_fuzz.problem.fills import make_values
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.worker.loader import from_callable

LINE = "m3-n8-k64-b4-g32"


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ("WWW", (kinds.WRONG, "strided")),
        ("W.W", (kinds.NONDETERMINISTIC, "repeat")),
        ("WW.", (kinds.NONDETERMINISTIC, "repeat")),
    ],
)
def test_a_check_that_fails_now_and_then_is_a_flaky_kernels(answers, found, monkeypatch):
    asked = iter(answers)
    wrong = Verdict(kinds.WRONG, LINE, "4 of 24 elements", check="strided")
    exam = Examination(TORCH, Case.parse(LINE), "cpu", Request(()))
    monkeypatch.setattr(exam, "_repeat", lambda: None)
    verdict = exam._stable(lambda: wrong if next(asked) == "W" else None)
    assert (verdict.kind, verdict.check) == found


def test_a_refusing_kernel_is_surrounded_as_any_other():
    """By poisoned memory, and its warnings go no further."""
    seen = []

    def refuses(x, **weights):
        warnings.warn("soon", UserWarning, stacklevel=1)
        seen.append(torch.empty(8).isnan().all())
        raise ValueError("g_idx must lie within the groups")

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        case = Case.parse(f"{LINE}-badgidx")
        verdict = Examination(from_callable(refuses, "f"), case, "cpu", Request(())).verdict()
    assert verdict.kind == kinds.REJECTED
    assert seen == [True]
    assert not told


def test_subnormals_are_there_again_after_a_kernel_that_flushed_them():
    before = global_state()
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush subnormals")
    try:
        assert global_state()["subnormals"] != before["subnormals"]
        restore_state(before)
        assert global_state() == before
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("relation", ["contiguous", "strided", "group named"])
def test_the_same_layer_is_asked_with_the_values_that_it_has(relation):
    """Which need not be those of its line: a check may come with others."""
    case = Case.parse("m3-n8-k64-b4-gall-pad3" if relation == "contiguous" else "m3-n8-k64-b4-gall")
    exam = Examination(TORCH, case, "cpu", Request(()))
    values = make_values(case, "cpu")
    exam.operands = Operands(case, "cpu", values=replace(values, left=values.left * 2))
    exam.expected = exam.expectation(exam.operands)
    assert RELATIONS[relation].run(exam).count == 0
