"""A given Problem on one Backend: judged as a case is, as far as that can be without a Case."""

from __future__ import annotations

from dataclasses import replace

import torch

from gptq_fuzz.case.backend import Backend
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.oracle.judge import Mismatch
from gptq_fuzz.oracle.locate import rows_and_columns
from gptq_fuzz.oracle.parts import ExpectedParts
from gptq_fuzz.problem.given import GivenOperands, Problem
from gptq_fuzz.problem.layouts import Guarded
from gptq_fuzz.problem.operands import judged_on


class GivenExamination(Examination):
    """Its value, what surrounds the call, and repeats; relations would need other data.

    A kernel that does not promise to do without g_idx is given one, for rows in order.
    """

    def __init__(
        self, backend: Backend, problem: Problem, device: str, request: Request, zones: bool = True
    ):
        super().__init__(backend, None, device, request, zones)
        if problem.g_idx is None and "none" not in backend.limits.g_idx:
            problem = replace(problem, g_idx=problem.group_of_row().int())
        self.problem = problem

    def _skipped(self) -> Verdict | None:
        return None

    def _judged(self) -> Verdict:
        self.operands = GivenOperands(self.problem, self.device, self.zones)
        place = judged_on(self.problem, self.device)
        self.expected = ExpectedParts(self.problem, self.backend.numerics, place)
        return self._examined()

    def _has_bfloat16(self) -> bool:
        return torch.bfloat16 in (self.problem.x.dtype, self.problem.scales.dtype)

    def _further(self) -> Verdict | None:
        return self._repeat()

    def _output_for(self, operands: GivenOperands) -> Guarded | None:
        return operands.output() if self.backend.accepts_out else None

    def _answer(self, operands: GivenOperands, out: torch.Tensor | None):
        return self.backend.multiply(operands.left, operands.weights(), out)

    def _where(self, wrong: torch.Tensor) -> str:
        return rows_and_columns(wrong, self.problem.unit)

    def _explained(self, mismatch: Mismatch) -> str:
        return ""
