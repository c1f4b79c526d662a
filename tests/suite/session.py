"""What one pytest run holds: the kernels under test, their verdicts, findings and coverage."""

from __future__ import annotations

import shlex
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import settings
from hypothesis.strategies import SearchStrategy

from . import verdict as kinds
from .backend import Limits
from .case import Case
from .coverage import Coverage
from .known import Waiver, waive
from .only import narrowed
from .search import FLAKY_CALLS, OTHER_SEEDS, Failure, Search
from .supervisor import ROOT, InProcess, Launch, Worker
from .verdict import Verdict

ENOUGH_FINDINGS = 3  # of one kernel: further tests of it are not run
DEFAULT_TIMEOUT = 60.0


@dataclass(frozen=True)
class Finding:
    """A failure as it is reported: the command that shows it again, and its verdict."""

    kernel: str
    command: str
    verdict: Verdict
    seconds: float = 0.0  # since the tests were collected

    def text(self) -> str:
        verdict = self.verdict
        lines = [f"reproduce: {self.command}", verdict.headline()]
        lines += [f"where: {verdict.where}"] * bool(verdict.where)
        return "\n".join(lines + [f"explained by {verdict.explained}"] * bool(verdict.explained))

    def to_json(self) -> dict:
        told = {"kernel": self.kernel, "reproduce": self.command, "found_after": self.seconds}
        return told | self.verdict.to_json()


@dataclass
class KernelUnderTest:
    """One kernel: its worker, and what has been learnt about it in this run."""

    launch: Launch
    only: str = ""
    in_process: bool = False
    waivers: list[Waiver] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    findings: list[Finding] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)  # its tests; set again when collected
    first_failure: dict = field(default_factory=dict)  # kind, line, check; cases and seconds so far

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
        words = ["python", "-m", "pytest"]
        words += [str(ROOT)] if Path(self.launch.started_in) != ROOT else []
        words += ["--kernel", self.spec]
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
            if not verdict.ok and not self.first_failure:
                told = {"kind": verdict.kind, "line": verdict.line, "check": verdict.check}
                so_far = {"cases": self.coverage.judged, "seconds": time.monotonic() - self.began}
                self.first_failure = told | so_far
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
            self.report(search.polish(found, self.limits))

    def must_pass_line(self, line: str) -> None:
        """Judge one line with every check, patiently. Raises Failure, ValueError for a bad line."""
        verdict = self.judge(Case.parse(line, self.limits.tokens), "all", FLAKY_CALLS)
        if not verdict.ok:
            self.record(verdict)

    def must_pass_corpus_line(self, line: str) -> None:
        """Judge one line with every check; a failure is shrunk. Raises Failure."""
        case = Case.parse(line, self.limits.tokens)
        verdict = self.judge(case, "all")
        if verdict.ok:
            return
        search = self.search()
        search.know(case, verdict)
        self.report(search.polish(search.judge(case), self.limits))

    def report(self, found: Verdict) -> None:
        """Judge a found line again in a fresh process, where it will be reproduced; record it."""
        case = Case.parse(found.line, self.limits.tokens)
        self.worker.stop()
        verdict = waive(self.waivers, self.spec, case, self.worker.ask(case, "all", FLAKY_CALLS))
        if verdict.ok:
            verdict = replace(found, kind=kinds.STATE_LEAKED)
            verdict.message = (
                f"{found.headline()}; only after other cases, alone it is {kinds.PASS}"
            )
        elif verdict.kind == kinds.WRONG and not verdict.explained:
            verdict.explained = self._diagnosis(case)
        self.record(verdict)

    def _diagnosis(self, case: Case) -> str:
        """What the same problem says when x picks single weights that can be told apart."""
        if "lanes" not in self.limits.fills:
            return ""
        for seed in OTHER_SEEDS:
            asked = case.replace(fill="lanes", seed=seed)
            told = self.worker.ask(asked, ()).explained
            if told:
                return f"{told} (in {asked})"
        return ""

    def record(self, verdict: Verdict) -> None:
        """Keep a failing verdict as a finding. Raises Failure."""
        seconds = time.monotonic() - self.began
        finding = Finding(self.spec, self.command(verdict.line), verdict, seconds)
        self.findings.append(finding)
        raise Failure(verdict, finding.text())

    @property
    def has_enough_findings(self) -> bool:
        fatal = any(finding.verdict.kind in kinds.FATAL for finding in self.findings)
        return fatal or len(self.findings) >= ENOUGH_FINDINGS


@dataclass
class Session:
    """The kernels of one run, and why others are not in it."""

    kernels: dict[str, KernelUnderTest] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    waivers: list[Waiver] = field(default_factory=list)
    json_path: Path | None = None
    base_seed: int | None = None

    def stop(self) -> None:
        for kernel in self.kernels.values():
            kernel.worker.stop()

    @property
    def judged(self) -> int:
        return sum(kernel.coverage.judged for kernel in self.kernels.values())

    def findings(self) -> list[Finding]:
        return [finding for kernel in self.kernels.values() for finding in kernel.findings]

    def complaints(self) -> list[str]:
        """Waivers that no longer hold."""
        return [text for waiver in self.waivers if (text := waiver.complaint())]
