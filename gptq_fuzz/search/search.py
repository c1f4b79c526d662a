"""Hypothesis looks for a failing case and shrinks it; verdicts are memoised and budgets kept."""

from __future__ import annotations

import time

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.minimise import simpler
from gptq_fuzz.search.own_time import TookTooLong

SHRINK_SECONDS = 60.0
SHRINK_RESTARTS = 30  # of the worker, while a crash or a hang is shrunk
FLAKY_CALLS = 500
OTHER_SEEDS = tuple(range(8))  # a smaller problem may need other data to show the same bug
QUICK = 0.05  # seconds a case may take for other seeds to be tried on it


class Failure(AssertionError):
    """A case failed; `verdict` says how, the message how to see it again."""

    def __init__(self, verdict: Verdict, text: str = ""):
        super().__init__(text or f"{verdict.headline()} [{verdict.line}]")
        self.verdict = verdict


class Search:
    """One search on a KernelUnderTest: `run` finds the smallest failing case.

    `checks` are run on every case until one fails. `is_alone`: a smaller case is one that fails in
    a new process too, where those before have changed nothing.
    """

    def __init__(self, kernel, checks=None, *, is_alone: bool = False):
        self._kernel, self._checks, self._is_alone = kernel, checks, is_alone
        self._memo: dict[Case, Verdict] = {}
        self._first: Verdict | None = None
        self.first_case: Case | None = None  # that failed, before anything was made smaller
        self._ends = float("inf")
        self.is_spent = False  # smaller cases were left unjudged

    def remember(self, case: Case, verdict: Verdict) -> None:
        """Keep a verdict that was given before the search begins."""
        self._memo[case] = verdict

    def run(
        self, strategy: SearchStrategy, base: settings, at: int | None = None
    ) -> Verdict | None:
        """The verdict on the smallest failing case, None if all pass. `at` fixes the seed."""

        @settings(
            base,
            deadline=None,
            database=None,  # the corpus is the memory, see CONTRIBUTING.md
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def every_case_passes(case):
            verdict = self.judge(case)
            if not verdict.ok:
                raise Failure(verdict)

        try:
            (every_case_passes if at is None else seed(at)(every_case_passes))()
        except Failure as failure:
            return failure.verdict
        except TookTooLong:  # while a failure is made smaller, the failure is what matters
            if self._first is None:
                raise
            return self._first
        return None

    def polish(self, found: Verdict) -> Verdict:
        """The verdict on the simplest case that single steps from `found` still let fail."""
        limits = self._kernel.limits
        while time.monotonic() < self._ends:
            tried = (self.judge(candidate) for candidate in simpler(found.case, limits))
            better = next((verdict for verdict in tried if not verdict.ok), None)
            if better is None or better.case == found.case:
                break
            found = better
        else:
            self.is_spent = True
        return found

    def judge(self, case: Case) -> Verdict:
        """The memoised verdict; once a case has failed, within the shrinking budget only."""
        if case not in self._memo:
            self._memo[case] = self._fresh(case)
        if not self._memo[case].ok and self._first is None:
            self._first = self._memo[case] = self._kernel.blamed(self._memo[case])
            self.first_case = case
            self._ends = time.monotonic() + SHRINK_SECONDS
            self._restarts_at_first = self._kernel.worker.restarts
        return self._memo[case]

    def _fresh(self, case: Case) -> Verdict:
        verdict = self._asked(case)
        if not verdict.ok and self._kernel.keeps_going and self._is_other(verdict):
            return Verdict(kinds.PASS, case, "it fails otherwise")
        return verdict

    def _is_other(self, verdict: Verdict) -> bool:
        """Whether it is not what is looked for: found before, or of another kind than the first."""
        is_first = self._first is None or verdict.kind == self._first.kind
        return self._kernel.is_known(verdict) or not is_first

    def _asked(self, case: Case) -> Verdict:
        if self._first is None:
            return self._kernel.judge(case, self._checks)
        if time.monotonic() > self._ends or self._worn_out():
            self.is_spent = True
            return Verdict(kinds.PASS, case, "not judged: the shrinking budget is spent")
        return self._smaller(case)

    def _worn_out(self) -> bool:
        return self._kernel.worker.restarts - self._restarts_at_first >= SHRINK_RESTARTS

    def _smaller(self, case: Case) -> Verdict:
        """A candidate for a smaller failure: the check that failed first, a few seeds, patience."""
        checks = () if self._first.check == "value" else (self._first.check,)
        calls = FLAKY_CALLS if self._first.check == "repeat" else 1
        verdict = self._kernel.judge(case, checks, calls)
        if self._may_be_left_over(verdict):
            self._kernel.worker.stop()
            verdict = self._kernel.judge(case, checks, calls)
        for other in OTHER_SEEDS:
            if not verdict.ok or verdict.seconds > QUICK:
                break
            verdict = self._kernel.judge(case.replace(seed=other), checks, calls)
        return verdict

    def _may_be_left_over(self, verdict: Verdict) -> bool:
        """Whether it fails otherwise than what left state behind, perhaps by that state alone."""
        leaked = self._first.kind == kinds.STATE_LEAKED and verdict.check != self._first.check
        return not verdict.ok and (leaked or self._is_alone)
