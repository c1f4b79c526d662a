"""One kernel under test: its worker, what was judged and found, and how a finding is reported."""

from __future__ import annotations

import shlex
import threading
import time
from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis.strategies import SearchStrategy

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.known import Waiver, waive
from gptq_fuzz.case.only import narrowed
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.fingerprint.store import Changed, FingerprintFile, check
from gptq_fuzz.search.coverage import Coverage
from gptq_fuzz.search.search import FLAKY_CALLS, Failure, Search
from gptq_fuzz.worker.in_process import InProcess
from gptq_fuzz.worker.supervisor import DEFAULT_TIMEOUT, Launch, Worker

ENOUGH_FINDINGS = 3  # of one kernel: further tests of it are not run
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
        verdict = self.verdict
        lines = [f"reproduce: {self.command}", verdict.headline()]
        lines += [f"where: {verdict.where}"] * bool(verdict.where)
        lines += [f"explained by {verdict.explained}"] * bool(verdict.explained)
        return "\n".join(lines + [f"pattern: {verdict.pattern}"] * bool(verdict.pattern))

    def to_json(self) -> dict:
        return {"kernel": self.kernel, "reproduce": self.command, **self.verdict.to_json()}


@dataclass
class KernelUnderTest:
    """One kernel: its worker, and what has been learnt about it in this run."""

    launch: Launch
    only: str = ""
    in_process: bool = False
    waivers: list[Waiver] = field(default_factory=list)
    called_as: tuple[str, ...] = ("gptq-fuzz",)  # how the command that judges a case begins
    coverage: Coverage = field(default_factory=Coverage)
    findings: list[Finding] = field(default_factory=list)
    fingerprints: dict[str, dict[str, str]] = field(default_factory=dict)  # by line
    aimed: dict[int, list[str]] = field(default_factory=dict)  # see fuzz.py
    first_failing: dict = field(default_factory=dict)  # first failing verdict, and cases till then
    failed_at: float | None = None  # time.monotonic() of it
    found_at: float | None = None  # and of the first finding, shrunk

    def __post_init__(self) -> None:
        self.worker = (InProcess if self.in_process else Worker)(self.launch)
        self._lock = threading.Lock()

    @property
    def spec(self) -> str:
        return self.launch.spec

    @property
    def limits(self) -> Limits:
        """The Backend's limits, as narrowed by --only. Raises ValueError where they clash."""
        return narrowed(self.worker.limits, self.only)

    def command(self, case: Case | str) -> str:
        """The shell command that judges `case` alone, from where this run was started."""
        words = [*self.called_as, "--kernel", self.spec]
        words += ["--only", self.only] if self.only else []
        words += ["--device", self.launch.device] if self.launch.device else []
        if self.launch.sanitizer:
            words += ["--sanitizer", self.launch.sanitizer]
        if self.launch.timeout != DEFAULT_TIMEOUT:
            words += ["--timeout", f"{self.launch.timeout:g}"]
        if self.launch.python != Launch.python:
            words += [f"--python={self.launch.python}"]  # a bare path would look like a test file
        return shlex.join([*words, "--case", str(case)])

    def judge(self, case: Case, checks=None, calls: int = 1, worker=None) -> Verdict:
        """The verdict on one case, counted, known failures waived."""
        verdict = (worker or self.worker).ask(case, checks, calls)
        with self._lock:
            verdict = waive(self.waivers, self.spec, case, verdict)
            self.coverage.add(case, verdict)
            if not verdict.ok and self.failed_at is None:
                self.failed_at = time.monotonic()
                told = {"kind": verdict.kind, "line": verdict.line, "check": verdict.check}
                self.first_failing = told | {"cases": self.coverage.judged}
        return verdict

    def search(self, checks=None) -> Search:
        return Search(
            lambda case, wanted, calls: self.judge(case, wanted, calls),
            lambda: self.worker.restarts,
            checks,
            self._judge_alone,
        )

    def _judge_alone(self, case: Case) -> Verdict:
        self.worker.stop()
        return self.judge(case, ())

    def must_pass(self, strategy: SearchStrategy, examples: int, checks=None) -> None:
        """Draw `examples` cases; raise Failure with the smallest that fails, judged afresh."""
        search = self.search(checks)
        found = search.run(strategy, settings(max_examples=examples))
        if found is not None:
            self.report(search.polish(found, self.limits), search.first_case)

    def must_pass_line(self, line: str) -> None:
        """Judge one line with every check, patiently. Raises Failure, ValueError for a bad line."""
        verdict = self.judge(Case.parse(line, self.limits.tokens), "all", FLAKY_CALLS)
        if not verdict.ok:
            self.record(verdict)

    def must_pass_shrunk(self, line: str, checks="all") -> None:
        """Judge one line, by default with every check; a failure is shrunk. Raises Failure."""
        case = Case.parse(line, self.limits.tokens)
        verdict = self.judge(case, checks)
        if verdict.ok:
            return
        search = self.search()
        search.know(case, verdict)
        self.report(search.polish(search.judge(case), self.limits), case)

    def must_compute_as_before(self, line: str, file: FingerprintFile, stores=True) -> None:
        """Take the fingerprint at a line's shape. Raises Changed, also for what contradicts."""
        taken = self.worker.look("fingerprint", Case.parse(line, self.limits.tokens))
        if stores:
            self.fingerprints[line] = taken.get("found", {})
        problems = check(file, self.spec, self.worker.description, line, taken, stores)
        if problems:
            raise Changed("\n".join(problems))

    def report(self, found: Verdict, first: Case | None = None) -> None:
        """Judge a found line again in a fresh process, where it will be reproduced; record it.

        `first` is the case that failed before it was made smaller.
        """
        case = Case.parse(found.line, self.limits.tokens)
        self.worker.stop()
        verdict = waive(self.waivers, self.spec, case, self.worker.ask(case, "all", FLAKY_CALLS))
        if verdict.ok:
            verdict = replace(found, kind=kinds.STATE_LEAKED)
            verdict.message = (
                f"{found.headline()}; only after other cases, alone it is {kinds.PASS}"
            )
        self.record(verdict, first)

    def record(self, verdict: Verdict, first: Case | None = None) -> None:
        """Keep a failing verdict as a finding, looked at closely. Raises Failure."""
        if self.found_at is None:
            self.found_at = time.monotonic()
        if verdict.kind == kinds.WRONG and verdict.check in SHOWN_BY:
            self._diagnose(verdict, first)
        finding = Finding(self.spec, self.command(verdict.line), verdict)
        self.findings.append(finding)
        raise Failure(verdict, finding.text())

    def _diagnose(self, verdict: Verdict, first: Case | None) -> None:
        """Say which substitution explains a wrong result, and where in the larger problem it is."""
        case = Case.parse(verdict.line, self.limits.tokens)
        small = case.m * case.n * case.k
        larger = [first] if first and small < first.m * first.n * first.k <= MOST_PRODUCTS else []
        for seen in [case, *larger]:
            asked = seen.replace(**SHOWN_BY[verdict.check])
            told = self.worker.look("diagnosis", asked)
            place = f" (in {asked})" if asked != case else ""
            if told.get("explained") and not (verdict.explained and place):
                verdict.explained = told["explained"] + place
            if told.get("pattern"):
                verdict.pattern = told["pattern"] + place

    @property
    def has_enough_findings(self) -> bool:
        fatal = any(finding.verdict.kind in kinds.FATAL for finding in self.findings)
        return fatal or len(self.findings) >= ENOUGH_FINDINGS
