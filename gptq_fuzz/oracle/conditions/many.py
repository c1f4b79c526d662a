"""The same call 500 times, each result right; of a slow kernel as many as there is time for.

Then other layers of that shape, one with its rows in another order: what a kernel has made for the
one that it met so often is not theirs.
"""

from __future__ import annotations

import time

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import decoy_of
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.conditions.parts import loaded, same_bits, wrong
from gptq_fuzz.problem.operands import Operands

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
    return _others(exam)


def _others(exam) -> Verdict | None:
    """The verdict on a call of each other layer."""
    other = decoy_of(exam.case)
    order = other.replace(g_idx="seq" if exam.case.g_idx != "seq" else "act")
    for case in (other, order):
        if exam.limits.violations(case):
            continue
        operands = Operands(case, exam.device, zones=exam.zones)
        mismatch = exam.expectation(operands).check(exam.call(operands))
        if mismatch.count:
            note = f" of another layer ({case}) after many calls of one of its shape"
            return wrong(exam, mismatch, note, kind=kinds.STATE_LEAKED)
    return None


def _late(exam, mismatch, number: int) -> Verdict:
    found = wrong(exam, mismatch, f" at call {number} of the same")
    if number > 1:
        found.kind, found.check = kinds.NONDETERMINISTIC, "repeat"
        found.wrong_runs, found.runs = 1, number
    return found
