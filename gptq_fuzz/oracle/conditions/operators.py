"""A kernel that is a registered operator: what torch asks of those, and compilation."""

from __future__ import annotations

import torch
from torch import library

from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import answer, loaded, with_another_x, wrong
from gptq_fuzz.problem.operands import Operands


def checked_operator(exam) -> Verdict | None:
    """torch's `opcheck` on the case with fill `exact`: it compares results, NaN differs."""
    case = exam.case.replace(fill="exact")
    operands = Operands(case, exam.device, zones=exam.zones)
    operator, arguments = exam.backend.operator(x=operands.left, **operands.weights())
    with exam.surrounded(poisoned=False):
        library.opcheck(operator, arguments)
    return None


def compiled(exam) -> Verdict | None:
    """The call traced by torch.compile, with two x; what is traced is not compiled any further."""
    torch.compiler.reset()  # of so many versions of one function it would give up
    multiply = torch.compile(loaded(exam, exam.operands), backend="aot_eager")
    for operands in (exam.operands, with_another_x(exam)):
        out = answer(exam, multiply, operands)
        if found := wrong(exam, exam.expectation(operands).check(out)):
            return found
    return None
