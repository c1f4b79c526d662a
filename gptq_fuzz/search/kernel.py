"""One kernel under test: its worker and limits, and the verdicts that it was given in this run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case, decoy_of
from gptq_fuzz.case.known import Waiver, waive
from gptq_fuzz.case.only import narrowed
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.coverage import Coverage
from gptq_fuzz.worker.supervisor import Asked, Launch, Worker

if TYPE_CHECKING:
    from gptq_fuzz.search.findings import Finding
    from gptq_fuzz.search.series import Tally


@dataclass
class KernelUnderTest:
    """Judges cases and counts them; findings.py keeps `findings`, claims.py `fingerprints`."""

    launch: Launch
    in_process: bool = False
    waivers: list[Waiver] = field(default_factory=list)
    called_as: tuple[str, ...] = ("gptq-fuzz",)  # how the command that judges a case begins
    new_in_flight: Callable[[], str] = str  # the file of a further worker, see Launch
    coverage: Coverage = field(default_factory=Coverage)
    findings: list[Finding] = field(default_factory=list)
    fingerprints: dict[Case, dict[str, str]] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)  # of each series, see series.py
    histories: list[list[str]] = field(default_factory=list)  # that passed, see history.py
    aimed: dict[int, list[Case]] = field(default_factory=dict)  # see fuzz.py
    first_failing: dict = field(default_factory=dict)  # first failing verdict, and cases till then
    failed_at: float | None = None  # time.monotonic() of it
    found_at: float | None = None  # and of the first finding, shrunk
    unreported: Verdict | None = None  # that failed, until it is a finding
    keeps_going: bool = False  # after a finding; what fails like one is passed over

    def __post_init__(self) -> None:
        self.worker = self._worker_class()(self.launch)
        self.lock = threading.Lock()
        self._before: dict[Case, tuple] = {}  # what a process had judged when a case failed

    @property
    def spec(self) -> str:
        return self.launch.spec

    @property
    def only(self) -> str:
        """Tokens that narrow what is drawn and asked, see case/only.py."""
        return self.launch.only

    @only.setter
    def only(self, tokens: str) -> None:
        self.launch = self.worker.launch = replace(self.launch, only=tokens)

    @property
    def limits(self) -> Limits:
        """The Backend's limits, as narrowed by --only. Raises ValueError where they clash."""
        return narrowed(self.worker.limits, self.only)

    @property
    def is_slow(self) -> bool:
        """Whether a case costs long: Triton interprets the kernel, or compiles it once more."""
        return bool(self.worker.description["triton"])

    def judge(self, case: Case, checks=None, calls: int = 1, worker=None) -> Verdict:
        """The verdict on one case, counted, known failures waived."""
        worker = worker or self.worker
        verdict = worker.ask(case, checks, calls)
        with self.lock:
            verdict = waive(self.waivers, self.spec, case, verdict)
            self.coverage.add(case, verdict)
            if not verdict.ok:
                self._before[case] = worker.judged, len(worker.judged) - 1
            self.note(verdict)
        return verdict

    def _worker_class(self) -> type:
        if not self.in_process:
            return Worker
        from gptq_fuzz.worker.in_process import InProcess  # and torch, which takes seconds

        return InProcess

    def note(self, verdict: Verdict) -> None:
        """What failed; when the first did, and after how many cases."""
        if not verdict.ok and self.unreported is None and not self.is_known(verdict):
            self.unreported = verdict
        if not verdict.ok and self.failed_at is None:
            self.failed_at = time.monotonic()
            facts = {"kind": verdict.kind, "line": verdict.line, "check": verdict.check}
            self.first_failing = facts | {"cases": self.coverage.judged}

    def judged_before(self, case: Case) -> list[Asked]:
        """What the process in which a case failed last had judged by then, since it started."""
        judged, count = self._before.get(case, ((), 0))
        return list(judged[:count])

    def is_known(self, verdict: Verdict) -> bool:
        """Whether a search that goes on after a finding has one that says the same."""
        found = (finding.verdict.signature for finding in self.findings)
        return self.keeps_going and not verdict.ok and verdict.signature in found

    def judge_alone(self, case: Case) -> Verdict:
        """The verdict on its values, in a new process."""
        self.worker.stop()
        return self.judge(case, ())

    def blamed(self, verdict: Verdict) -> Verdict:
        """A wrong answer to the weights in between is a leak only if alone it is right."""
        if verdict.check not in ("decoy", "reloaded") or verdict.ok:
            return verdict
        alone = self.judge_alone(decoy_of(verdict.case))
        return verdict if alone.ok else alone
