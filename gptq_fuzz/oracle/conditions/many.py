"""The same call 500 times, each result right; of a slow kernel as many as there is time for."""

from __future__ import annotations

import time

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import loaded, same_bits, wrong

CALLS, FEWEST = 500, 50
SECONDS = 0.5  # after which it is FEWEST; a case that is asked patiently has more


def called_again(exam) -> Verdict | None:
    """The verdict on many calls, the number of the one that fails among it."""
    multiply, right, expected = loaded(exam, exam.operands), None, exam.expected
    patience = exam.request.seconds if exam.request.calls > 1 else SECONDS
    ends = time.monotonic() + patience
    with exam.surrounded():
        for number in range(1, CALLS + 1):
            try:
                out = exam.rows_of(multiply(exam.operands.left), exam.operands)
            except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
                found = exam._raised(problem)
                if found.kind != kinds.SKIPPED:
                    found.message = f"at call {number} of the same: {found.message}"
                return found
            if right is None or not same_bits(right, out):
                mismatch = expected.check(out)
                if mismatch.count:
                    return _late(exam, mismatch, number)
                right = out.clone()
            if number >= FEWEST and time.monotonic() > ends:
                break
    return None


def _late(exam, mismatch, number: int) -> Verdict:
    found = wrong(exam, mismatch, f" at call {number} of the same")
    if number > 1:
        found.kind, found.check = kinds.NONDETERMINISTIC, "repeat"
        found.wrong_runs, found.runs = 1, number
    return found
