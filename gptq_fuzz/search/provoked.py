"""A failure that no case shows alone, as steps: the case's call after calls that were broken off,
interrupted or refused. Questions about memory make such calls, and histories do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.history import AMBIENT, BETWEEN, BROKEN, parse_history
from gptq_fuzz.search.history import Failing, Steps, keep_shortest, tokens
from gptq_fuzz.search.kept import CHECK
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.worker.supervisor import Asked

SECONDS = 30.0  # in which steps may be left out
PLACES = ("op1", "op3", "op1of2", "last2", "last1")  # of the operator that raises


def must_pass_provoked(kernel: KernelUnderTest, case: Case, earlier: Sequence[Asked]) -> None:
    """Ask a case again in new processes, after what its own may not have got over: calls that were
    no plain ones, then the histories before. Raises Failure with the fewest steps that fail.
    """
    call = _call_of(kernel.limits, case)
    if not call or not (kernel.histories or any(map(_is_rough, earlier))):
        return
    load, *calls = call
    fails, ends = Failing(kernel), time.monotonic() + SECONDS
    rough = [load, *calls, *_rough_calls(kernel.limits, case, calls), *calls]
    passed = [step for history in kernel.histories for step in history]
    for tried, without in ((rough, [load, *calls * 2]), (passed + call, call)):
        if tried != without and fails.alone(tried) and not fails.alone(without):
            keep_shortest(kernel, fails, tried, ends)


def _is_rough(asked: Asked) -> bool:
    """Whether a call of it was broken off, or refused."""
    return CHECK in (asked.checks or ()) or bool(asked.case.bad) or asked.case.condition == "oom"


def _call_of(limits: Limits, case: Case) -> Steps:
    """The case as a layer that is loaded and a call of it; nothing where no steps say that."""
    under = [name for name in (case.state, case.condition) if name in AMBIENT]
    plain = case.replace(bad="", state="", condition="", backward=False)
    steps = [f"load-0-{tokens(plain)}", "-".join([f"call-0-m{case.m}", *under])]
    return steps if _can_be_read(steps, limits) else []


def _rough_calls(limits: Limits, case: Case, calls: Steps) -> Iterator[str]:
    rows = max(1, case.m)
    rough = [f"{verb}-0-m{rows}-{place}" for verb in BROKEN for place in PLACES]
    rough += [f"refuse-0-bad{bad}" for bad in limits.bad]
    yield from (step for one in rough for step in (one, *calls))


def _can_be_read(steps: Steps, limits: Limits) -> bool:
    try:
        parse_history(BETWEEN.join(steps), limits)
    except ValueError:
        return False
    return True
