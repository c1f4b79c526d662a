"""From a failing verdict to a finding: made small, judged again alone, looked at closely, kept."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.known import waive
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.explained import diagnose
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.replay import in_order, needed_before
from gptq_fuzz.search.search import (
    FLAKY_CALLS,
    SHRINK_RESTARTS,
    SHRINK_SECONDS,
    Failure,
    Search,
)
from gptq_fuzz.worker.supervisor import DEFAULT_TIMEOUT, Launch

ENOUGH = 3  # of one kernel: further tests of it are not run
SPENT = f"; not made smaller any further after {SHRINK_SECONDS:g} s or {SHRINK_RESTARTS} restarts"
REPRODUCE = "reproduce: "
NOT_REPRODUCED = "seen once, not reproduced"
SEEN_OFTEN = "not reproduced in a new process, seen"
AFTER_OTHERS = "only after other cases, in the order of this line"


@dataclass(frozen=True)
class Finding:
    """A failure as it is reported: the command that shows it again, and its verdict.

    `command` is "" where the failure did not come back; it was `seen` so many times, the calls of a
    search that made it smaller among them.
    """

    kernel: str
    command: str
    verdict: Verdict
    seen: int = 1

    def text(self) -> str:
        name = REPRODUCE + self.command
        if not self.command:
            often = f"{SEEN_OFTEN} {self.seen} times" if self.seen > 1 else NOT_REPRODUCED
            name = f"{often}: {self.kernel} {self.verdict.line}"
        return f"{name}\n{self.verdict}"

    @property
    def key(self) -> tuple[str, str]:
        """The same for what another test found of the same kernel with the same line."""
        return self.kernel, self.command or self.verdict.line

    def to_json(self) -> dict:
        return {"kernel": self.kernel, "reproduce": self.command, **self.verdict.to_json()}


class FoundBefore(Failure):
    """A failure that, made small, says what a finding says."""


def has_enough(kernel: KernelUnderTest) -> bool:
    """Whether further tests of a kernel would say nothing new."""
    fatal = any(finding.verdict.kind in kinds.FATAL for finding in kernel.findings)
    return fatal or len(kernel.findings) >= ENOUGH


def command(kernel: KernelUnderTest, *asked: str) -> str:
    """The shell command that judges one case or file alone, from where this run was started.

    `asked` is what selects it: `"--case", LINE`.
    """
    launch = kernel.launch
    is_like_an_option = kernel.spec.startswith("-")
    named = [f"--kernel={kernel.spec}"] if is_like_an_option else ["--kernel", kernel.spec]
    words = [*kernel.called_as, *named]
    words += ["--only", kernel.only] if kernel.only else []
    words += ["--device", launch.device] if launch.device else []
    words += ["--sanitizer", launch.sanitizer] if launch.sanitizer else []
    words += ["--timeout", f"{launch.timeout:g}"] if launch.timeout != DEFAULT_TIMEOUT else []
    if launch.python != Launch.python:
        words += [f"--python={launch.python}"]  # a bare path would look like a test file
    return shlex.join([*words, *asked])


def unshrunk(kernel: KernelUnderTest) -> str:
    """What is known of a failure that was not made smaller, and may not come back alone."""
    verdict = kernel.unreported
    is_of_one_case = verdict.case is not None and verdict.check != "history"
    line = command(kernel, "--case", verdict.line) if is_of_one_case else ""
    return f"{Finding(kernel.spec, line, verdict).text()}\nnot made smaller: the run was ended"


def shrink_and_report(kernel: KernelUnderTest, search: Search, found: Verdict) -> None:
    """Report the simplest case that single steps from a failing one lead to. Raises Failure."""
    small = search.polish(found)
    report(kernel, small, search.first_case, SPENT if search.is_spent else "")


def report(
    kernel: KernelUnderTest, found: Verdict, first: Case | None = None, note: str = ""
) -> None:
    """Judge a failing case again in a new process, where it will be reproduced; record it.

    `first` is the case that failed before it was made smaller, `note` is about that. Raises
    Failure.
    """
    earlier = kernel.judged_before(found.case)
    verdict = _alone(kernel, found.case)
    if not verdict.ok:
        verdict.message += note
        record(kernel, verdict, first)
    larger = _alone(kernel, first) if first not in (None, found.case) else verdict
    if not larger.ok and larger.kind == found.kind:
        _record_smaller(kernel, larger)
    from gptq_fuzz.search.provoked import must_pass_provoked  # which keeps findings here

    must_pass_provoked(kernel, found.case, earlier)
    needed = needed_before(kernel, found.case, earlier)
    if needed is None:
        if not larger.ok:
            _record_smaller(kernel, larger)
        keep(kernel, _not_reproduced(found, verdict))
    cases, verdict = needed
    verdict.message += note
    keep_list(kernel, [*cases, found.case], verdict)


def _alone(kernel: KernelUnderTest, case: Case) -> Verdict:
    """The verdict on a case in a new process, as --case asks it."""
    kernel.worker.stop()
    verdict = kernel.blamed(kernel.worker.ask(case, "all", FLAKY_CALLS))
    return waive(kernel.waivers, kernel.spec, case, verdict)


def _record_smaller(kernel: KernelUnderTest, first: Verdict) -> None:
    """Record what fails alone, made small in new processes: smaller cases may have failed by what
    it left in theirs. Raises Failure.
    """
    search = Search(kernel, is_alone=True)
    search.remember(first.case, first)
    small = search.polish(search.judge(first.case))
    verdict = _alone(kernel, small.case)
    verdict = first if verdict.ok else verdict
    verdict.message += SPENT if search.is_spent else ""
    record(kernel, verdict, first.case)


def report_in_order(kernel: KernelUnderTest, cases: Sequence[Case], found: Verdict) -> None:
    """Record a verdict on the last of the cases that one process was given. Raises Failure."""
    alone = _alone(kernel, cases[-1])
    if not alone.ok:
        record(kernel, alone)
    in_list = in_order(kernel, cases)[-1]
    if in_list.ok:
        keep(kernel, _not_reproduced(found, alone))
    keep_list(kernel, cases, in_list)


def _not_reproduced(found: Verdict, alone: Verdict) -> Verdict:
    """A flaky kernel's verdict stays what it was; one that lasted says what else was tried."""
    if found.kind == kinds.NONDETERMINISTIC:
        note = f"; 0 of {alone.runs} alone"
    else:
        note = f"; alone it is {alone.kind}, and no list of the cases before it fails again"
    return replace(found, message=found.message + note)


def keep_list(kernel: KernelUnderTest, cases: Sequence[Case], verdict: Verdict) -> None:
    """Keep a verdict on the last of several cases, which needs those before. Raises Failure."""
    leak = replace(verdict, kind=kinds.STATE_LEAKED)
    leak.message = f"{verdict.headline()}; {AFTER_OTHERS}, alone it is {kinds.PASS}"
    keep(kernel, leak, *(word for case in cases for word in ("--case", str(case))))


def record(kernel: KernelUnderTest, verdict: Verdict, first: Case | None = None) -> None:
    """Keep a failing verdict as a finding, looked at closely. Raises Failure."""
    if verdict.kind == kinds.WRONG and verdict.check != kinds.CONFIRMED:
        diagnose(kernel, verdict, first)
    keep(kernel, verdict, "--case", verdict.line)


def keep(kernel: KernelUnderTest, verdict: Verdict, *asked: str) -> None:
    """Keep a failing verdict on what `asked` selects, or that did not come back. Raises Failure."""
    if kernel.found_at is None:
        kernel.found_at = time.monotonic()
    kernel.unreported = None
    if kernel.is_known(verdict):
        raise FoundBefore(verdict)
    seen = kernel.coverage.verdicts[verdict.kind]
    finding = Finding(kernel.spec, command(kernel, *asked) if asked else "", verdict, seen)
    kernel.findings.append(finding)
    raise Failure(verdict, finding.text())
