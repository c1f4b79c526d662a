"""From a failing verdict to a finding: made small, judged again alone, looked at closely, kept."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, replace

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.known import waive
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.search import FLAKY_CALLS, Failure, Search
from gptq_fuzz.worker.supervisor import DEFAULT_TIMEOUT, Launch

ENOUGH = 3  # of one kernel: further tests of it are not run
# Checks that a wrong weight may fail, and what to ask for so that it shows
SHOWN_BY: dict[str, dict[str, str]] = {"value": {}, "rows permuted": {"g_idx": "act"}}
MOST_PRODUCTS = 2**21  # of a problem that is looked at closely


@dataclass(frozen=True)
class Finding:
    """A failure as it is reported: the command that shows it again, and its verdict."""

    kernel: str
    command: str
    verdict: Verdict

    def text(self) -> str:
        return f"reproduce: {self.command}\n{self.verdict}"

    def to_json(self) -> dict:
        return {"kernel": self.kernel, "reproduce": self.command, **self.verdict.to_json()}


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


def shrink_and_report(kernel: KernelUnderTest, search: Search, found: Verdict) -> None:
    """Report the simplest case that single steps from a failing one lead to. Raises Failure."""
    report(kernel, search.polish(found), search.first_case)


def report(kernel: KernelUnderTest, found: Verdict, first: Case | None = None) -> None:
    """Judge a failing case again in a new process, where it will be reproduced; record it.

    `first` is the case that failed before it was made smaller. Raises Failure.
    """
    kernel.worker.stop()
    again = kernel.worker.ask(found.case, "all", FLAKY_CALLS)
    verdict = waive(kernel.waivers, kernel.spec, found.case, again)
    if verdict.ok:
        verdict = replace(found, kind=kinds.STATE_LEAKED)
        verdict.message = f"{found.headline()}; only after other cases, alone it is {kinds.PASS}"
    record(kernel, verdict, first)


def record(kernel: KernelUnderTest, verdict: Verdict, first: Case | None = None) -> None:
    """Keep a failing verdict as a finding, looked at closely. Raises Failure."""
    if kernel.found_at is None:
        kernel.found_at = time.monotonic()
    if verdict.kind == kinds.WRONG and verdict.check in SHOWN_BY:
        _diagnose(kernel, verdict, first)
    keep(kernel, verdict, "--case", verdict.line)


def keep(kernel: KernelUnderTest, verdict: Verdict, *asked: str) -> None:
    """Keep a failing verdict on what `asked` selects. Raises Failure."""
    finding = Finding(kernel.spec, command(kernel, *asked), verdict)
    kernel.findings.append(finding)
    raise Failure(verdict, finding.text())


def _diagnose(kernel: KernelUnderTest, verdict: Verdict, first: Case | None) -> None:
    """Name the substitution that explains a wrong result, and where in a larger problem it is."""
    case = verdict.case
    small = case.m * case.n * case.k
    larger = [first] if first and small < first.m * first.n * first.k <= MOST_PRODUCTS else []
    for seen in [case, *larger]:
        asked = seen.replace(**SHOWN_BY[verdict.check])
        diagnosis = kernel.worker.look("diagnosis", asked)
        place = f" (in {asked})" if asked != case else ""
        if diagnosis.get("explained") and not (verdict.explained and place):
            verdict.explained = diagnosis["explained"] + place
        if diagnosis.get("pattern"):
            verdict.pattern = diagnosis["pattern"] + place
