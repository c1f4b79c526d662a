"""Cases judged one after another for as long as there is time, and how many of them were.

A kernel that gets through is asked all of them, in order. Of a slower one, those that are left are
shuffled by the seed of the run, so that the next run asks what this one had no time for.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.findings import shrink_and_report
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.search import Search

FIRST = 8  # cases after which it is estimated how long all will take
DEAREST = 1 / 4  # of the time, for one case that costs more than a drawn one may


@dataclass
class Tally:
    """How many cases of a series were judged, and why others were not: reason -> number."""

    planned: int
    judged: int = 0
    unseen: list[str] = field(default_factory=list)  # labels that no judged case has
    left_out: Counter = field(default_factory=Counter)
    seconds: float = 0.0

    def to_json(self) -> dict:
        """Plain values."""
        return vars(self) | {"left_out": dict(self.left_out)}


def must_pass_series(
    kernel: KernelUnderTest,
    name: str,
    cases: Sequence[Case],
    seconds: float,
    seed: int,
    *,
    label: Callable[[Case], str] = lambda case: "",
    excuse: Callable[[Case], str] = lambda case: "",
    first: int = FIRST,
    dearest: float = DEAREST,
    checks: tuple[str, ...] = (),
) -> None:
    """Judge the values of `cases`, and what `checks` name; the first that fails is shrunk. Raises
    Failure.

    The tally is `kernel.tallies[name]`. A case is left out for the reason that `excuse` gives, and
    one above the limits' `max_tiles` unless those before it predict that it takes no more than
    `dearest` of the time. The `first` are asked in their order, however slow the kernel is.
    """
    series = _Series(kernel, cases, seconds, seed, label, excuse, first, dearest, checks)
    kernel.tallies[name] = series.tally
    failed = series.first_failing()
    if failed is not None:
        search = Search(kernel, checks)
        search.remember(failed.case, failed)
        shrink_and_report(kernel, search, search.judge(failed.case))


class _Series:
    def __init__(self, kernel, cases, seconds, seed, label, excuse, first, dearest, checks):
        self.kernel, self.limits = kernel, kernel.limits
        self.seconds, self.seed, self.label = seconds, seed, label
        self.first, self.dearest, self.checks = first, dearest, checks
        self.tally = Tally(len(cases), unseen=sorted({label(case) for case in cases} - {""}))
        reasons = [excuse(case) for case in cases]
        self.tally.left_out.update(reason for reason in reasons if reason)
        asked = zip(cases, reasons, strict=True)
        self.waiting = [case for case, reason in asked if not reason][::-1]  # the next one last
        self._asked = 0
        self._is_shuffled = False
        self._dearest = (0, 0.0)  # tiles, and the seconds that they took

    def first_failing(self) -> Verdict | None:
        """Judge until the time is up; None if all that was judged is right."""
        started = time.monotonic()
        verdict = None
        while self.waiting and (verdict is None or verdict.ok):
            if self.tally.seconds >= self.seconds:
                break
            self._shuffle_if_slow()
            case = self.waiting.pop()
            if self._is_too_dear(case):
                self.tally.left_out["no time"] += 1
            else:
                verdict = self._judge(case)
            self.tally.seconds = time.monotonic() - started
        is_right = verdict is None or verdict.ok
        if self.waiting:
            self.tally.left_out["no time" if is_right else "a finding"] += len(self.waiting)
        return None if is_right else verdict

    def _tiles(self, case: Case) -> int:
        return self.limits.tiles(case.m, case.n, case.k)

    def _shuffle_if_slow(self) -> None:
        if self._is_shuffled or self._asked < self.first:
            return
        mean = self.tally.seconds / self._asked
        if mean * len(self.waiting) > self.seconds - self.tally.seconds:
            random.Random(self.seed).shuffle(self.waiting)
            self._is_shuffled = True

    def _is_too_dear(self, case: Case) -> bool:
        tiles, (most, took) = self._tiles(case), self._dearest
        if tiles <= self.limits.max_tiles or not most:
            return False
        return took * tiles / most > self.seconds * self.dearest

    def _judge(self, case: Case) -> Verdict:
        """The verdict; where this machine cannot judge these dtypes, on those that are simplest."""
        started = time.monotonic()
        verdict = self.kernel.judge(case, self.checks)
        if verdict.kind == kinds.SKIPPED:
            dtype, scales_dtype = self.limits.dtypes[0], self.limits.scales_dtypes[0]
            simple = {"dtype": dtype, "scales_dtype": scales_dtype}
            if (other := case.replace(**simple)) != case:
                verdict = self.kernel.judge(other, self.checks)
        self._dearest = max(self._dearest, (self._tiles(case), time.monotonic() - started))
        self._asked += 1
        if verdict.kind == kinds.SKIPPED:
            self.tally.left_out[verdict.message] += 1
        else:
            self.tally.judged += 1
            self.tally.unseen = [name for name in self.tally.unseen if name != self.label(case)]
        return verdict
