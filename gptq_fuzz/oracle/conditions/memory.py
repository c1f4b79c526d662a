"""An allocation that fails in the middle of a call: a clear exception, the next call right, and of
a kernel that is deterministic it has the bits of the one before.
"""

from __future__ import annotations

import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import same_bits, within, wrong
from gptq_fuzz.oracle.each_operator import EachOperator, makes_a_tensor

MOST = 5  # allocations of a call that fail, one a call: the first, the last, and some between


def out_of_memory(exam) -> Verdict | None:
    """The verdict on calls in which one of torch's operators finds no memory."""
    counted = FailsAt(0)
    right = _call(exam, counted).clone()
    for number in sorted({1 + place * (counted.count - 1) // (MOST - 1) for place in range(MOST)}):
        found = counted.count and _fails_at(exam, number, counted.count, right)
        if found:
            return found
    return None


def _fails_at(exam, number: int, count: int, right: torch.Tensor) -> Verdict | None:
    where = f" where allocation {number} of {count} fails"
    try:
        out = _call(exam, FailsAt(number))
    except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
        found = exam._refused(problem)
        if found.kind != kinds.REJECTED:
            found.message += where
            return found
    else:  # it did without
        if found := wrong(exam, exam.expected.check(out), where):
            return found
    out = exam.call(exam.operands)
    if exam.backend.deterministic and not same_bits(right, out):
        message = f"other bits after a call{where}"
        return exam._result(kinds.NONDETERMINISTIC, message, wrong_runs=1, runs=2)
    return wrong(exam, exam.expected.check(out), f" after a call{where}", kinds.STATE_LEAKED)


def _call(exam, mode: FailsAt) -> torch.Tensor:
    with within(exam, lambda: mode):
        return exam.call(exam.operands)


class FailsAt(EachOperator):
    """The operator of this number, of those that make a tensor, finds no memory; 0: none."""

    def __init__(self, number: int):
        super().__init__()
        self.number, self.count = number, 0

    def before(self, operator) -> None:
        if makes_a_tensor(operator):
            self.count += 1
            if self.count == self.number:
                raise torch.OutOfMemoryError("out of memory (made by gptq-fuzz)")
