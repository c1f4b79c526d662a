"""`--budget`: cases drawn round after round and judged by several workers until the time is up.

A round is what Hypothesis draws from one seed, and a few cases built for pairs of axis values that
no case of this run has had yet, and once there are none for such triples; and a few of those drawn
in a form that the kernel promises to refuse, each form in its turn. What was built is kept by its
seed (`aimed`), since it depends on what was judged by then: a round can be drawn again from its
seed and those cases. Each round ends with a history: the canned ones first, then drawn ones.

A failure is told of at once, and again when it was made smaller; for other kernels the clock stands
still meanwhile. It ends the search of its kernel, unless that keeps going: then what fails like a
finding is passed over, and anything else is made smaller too.
"""

from __future__ import annotations

import itertools
import os
import queue
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Protocol

from hypothesis import HealthCheck, Phase, given, seed, settings

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.history import BETWEEN
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.coverage import pairs_of, triples_of
from gptq_fuzz.search.findings import FoundBefore, command, shrink_and_report
from gptq_fuzz.search.history import endless, judge_history, report_history
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.pairwise import all_together, cases_for
from gptq_fuzz.search.search import Failure, Search
from gptq_fuzz.search.strategies import cases, refused, ways_to_be_refused
from gptq_fuzz.worker.supervisor import Ended, Worker

REFUSALS = 6  # cases a round that are due to be refused
AIMED = 15  # cases a round that are built for cold pairs and triples
ATTEMPTS = 2  # cases built for the same one, in case the first was skipped
ROUND = 50  # cases drawn from one seed; what Hypothesis draws again to shrink a failure
JOBS_PER_GPU = 8  # busy workers that share a GPU
PATIENCE = 3  # failures that look alike and turn out to be found before; others are passed over
HISTORY_SECONDS = 10.0  # for one, of which as many steps are asked as there is time for
TICK = 0.2  # seconds between two looks at the clock


class Screen(Protocol):
    """Where a fuzz run is shown."""

    def show(self, kernels: list[KernelUnderTest], findings: int, left: float) -> None:
        """A few times a second: how far it is, and how many seconds are left."""

    def tell(self, text: str) -> None:
        """At once: what was found."""


class Nowhere:
    """A Screen that shows nothing."""

    def show(self, kernels: list[KernelUnderTest], findings: int, left: float) -> None:
        pass

    def tell(self, text: str) -> None:
        pass


class Here(Executor):
    """Runs what it is given at once, in this thread, where a signal ends a kernel that hangs.

    And drawing, which sets Python's random state, finds no kernel that must leave it alone.
    """

    def submit(self, function, /, *args, **more) -> Future:
        future: Future = Future()
        future.set_result(function(*args, **more))
        return future


@dataclass
class Lane:
    """One kernel's share of a fuzz run."""

    kernel: KernelUnderTest
    jobs: int
    seed: int
    drawn: deque = field(default_factory=deque)
    pending: dict[Future, tuple[int, Case | tuple]] = field(default_factory=dict)
    judged: dict[int, dict[Case, Verdict]] = field(default_factory=dict)  # by seed of the round
    aimed_at: Counter = field(default_factory=Counter)  # how often, by pair and triple
    failed: tuple[int, Case | tuple] | None = None  # the seed of its round, and case or steps
    verdict: Verdict | None = None  # on it
    is_over: bool = False  # nothing more is judged: a verdict has failed, or the run ends
    is_reported: bool = False  # what has failed
    texts: list[str] = field(default_factory=list)  # of findings, once they were made smaller
    found_before: Counter = field(default_factory=Counter)  # how it looked -> failures

    def __post_init__(self) -> None:
        self.idle: queue.SimpleQueue = queue.SimpleQueue()
        self.workers = [self.kernel.worker, *(self._another() for _ in range(self.jobs - 1))]
        for worker in self.workers:
            self.idle.put(worker)
        self.pool = Here() if self.kernel.in_process else ThreadPoolExecutor(len(self.workers))
        self.refusals = itertools.cycle(ways_to_be_refused(self.kernel.limits))
        self.histories = endless(self.kernel.limits, self.seed)

    def _another(self) -> Worker:
        return Worker(replace(self.kernel.launch, in_flight=self.kernel.new_in_flight()))

    def start(self) -> None:
        """Load the kernel in each further worker, side by side, before the clock starts."""
        for worker in self.workers[1:]:
            worker.begin()
        for worker in self.workers[1:]:
            worker.wait_ready()

    def submit(self) -> None:
        """Hand out the next case; draw another round when the last one is used up."""
        if not self.drawn:
            self._draw()
            self.seed += 1
        at, case = self.drawn.popleft()
        self.pending[self.pool.submit(self._judge, case)] = (at, case)

    def _draw(self) -> None:
        """A round: cases for cold pairs and triples, then what Hypothesis draws from the seed."""
        coverage, at = self.kernel.coverage, self.seed
        drawn = draw_round(self.kernel, at)
        aimed = self._aimed(2, coverage.pairs, pairs_of, drawn, AIMED)
        more = AIMED - len(aimed)
        aimed += self._aimed(3, coverage.triples, triples_of, drawn + aimed, more)
        due = zip(drawn[:REFUSALS], self.refusals, strict=False)  # of none, none
        aimed += [refused(case, way) for case, way in due]
        if aimed:
            self.kernel.aimed[at] = aimed
        self.drawn.extend((at, case) for case in aimed + drawn)
        self.drawn.append((at, tuple(next(self.histories))))

    def _aimed(self, strength: int, judged: set, together, ahead: list[Case], most: int):
        """Cases for pairs or triples that are neither `judged` nor in the cases `ahead`."""
        limits = self.kernel.limits
        seen = judged.union(*map(together, ahead))
        cold = {w for w in all_together(limits, strength) - seen if self.aimed_at[w] < ATTEMPTS}
        aimed = cases_for(limits, cold, most, self.seed)
        for case in aimed:
            self.aimed_at.update(together(case) & cold)
        return aimed

    @property
    def share(self) -> int:
        """Cases that this kernel has had; the one with the fewest comes next."""
        return self.kernel.coverage.judged + len(self.pending)

    def _judge(self, case: Case | tuple) -> tuple[Verdict, Worker]:
        worker = self.idle.get()
        try:
            if self.is_over:
                raise Ended
            if isinstance(case, Case):
                verdict = self.kernel.judge(case, worker=worker)
            else:
                verdict, _ = judge_history(self.kernel, list(case), HISTORY_SECONDS, worker)
            self.is_over = self.is_over or self._is_news(verdict)
            return verdict, worker
        finally:
            self.idle.put(worker)

    def _is_news(self, verdict: Verdict) -> bool:
        """Whether it fails, and not as was found before."""
        if verdict.ok or self.kernel.is_known(verdict):
            return False
        return self.found_before[verdict.looks] < PATIENCE

    def settle(self) -> None:
        """Take what is done; note the first round that holds a failure."""
        for done in [future for future in self.pending if future.done()]:
            at, case = self.pending.pop(done)
            if isinstance(done.exception(), Ended):
                continue
            verdict, worker = done.result()
            if isinstance(case, Case):
                self.judged.setdefault(at, {})[case] = verdict
            if self._is_news(verdict) and self.failed is None:
                self.failed, self.verdict = (at, case), verdict
                self.kernel.worker = worker  # idle, and what it judged before is in its mind

    def close(self) -> None:
        """End the workers but one that saw a failure; there is no verdict on what is in flight."""
        self.is_over = True
        kept = self.kernel.worker if self.failed or not self.pending else None
        others = [worker for worker in self.workers if worker is not kept]
        for worker in others:
            worker.end()
        self.pool.shutdown()
        self.pending.clear()
        for worker in others:
            self.kernel.worker.compiled |= worker.compiled
            worker.stop()

    def report(self, tell: Callable[[str], None]) -> None:
        """Make the failure smaller, with the worker that saw it; tell of it before and after.

        Then, if the kernel keeps going, it is ready for more.
        """
        _, case = self.failed
        asked = ("--case", str(case)) if isinstance(case, Case) else ("--steps", BETWEEN.join(case))
        again = command(self.kernel, *asked)
        tell(f"fuzz: {self.verdict.kind}, to be made smaller: {again}")
        if self.kernel.keeps_going:
            wait(self.pending)  # which ends them: nothing else is asked meanwhile
            self.settle()
        else:
            self.close()
        try:
            self.shrink()
        except FoundBefore as failure:
            self.found_before[self.verdict.looks] += 1
            tell(f"fuzz: found before: {failure.verdict.kind} {failure.verdict.explained}".rstrip())
        except Failure as failure:
            self.texts.append(str(failure))
            tell(self.texts[-1])
        if self.kernel.keeps_going and self.verdict.kind != kinds.TIMED_OUT:
            self.failed, self.verdict = None, None
            self.is_over = self.is_reported = False

    def shrink(self) -> None:
        """Draw the failing round again and let Hypothesis shrink it. Raises Failure.

        A case that was built for cold pairs is not among what is drawn: single steps shrink it.
        """
        at, case = self.failed
        if not isinstance(case, Case):
            report_history(self.kernel, list(case[: self.kernel.worker.reached + 1]), self.verdict)
        search = Search(self.kernel)
        for judged, verdict in self.judged[at].items():
            search.remember(judged, verdict)
        found = None
        if case not in self.kernel.aimed.get(at, ()):
            found = search.run(cases(self.kernel.limits), _round_settings(), at=at)
        shrink_and_report(self.kernel, search, found or search.judge(case))


def _round_settings() -> settings:
    return settings(max_examples=ROUND, derandomize=False)


def draw_round(kernel: KernelUnderTest, at: int) -> list[Case]:
    """The cases that Hypothesis draws from one seed."""
    drawn: list[Case] = []

    @seed(at)
    @settings(
        _round_settings(),
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(kernel.limits))
    def collect(case):
        drawn.append(case)

    collect()
    return drawn


def fuzz(
    kernels: list[KernelUnderTest], seconds: float, base: int, screen: Screen | None = None
) -> list[str]:
    """Fuzz all kernels side by side for `seconds`; the texts of what was found, shrunk."""
    screen = screen or Nowhere()
    lanes = [Lane(kernel, _jobs(kernel), base) for kernel in kernels]
    try:
        for lane in lanes:
            lane.start()
        _take_turns(lanes, time.monotonic() + seconds, screen)
        for lane in lanes:
            wait(lane.pending)
            lane.settle()
            _report_new([lane], screen)
    finally:
        for lane in lanes:
            lane.close()
    return [text for lane in lanes for text in lane.texts]


def _take_turns(lanes: list[Lane], ends: float, screen: Screen) -> None:
    """Judge until the time is up, or every kernel has failed."""
    capacity = max(lane.jobs for lane in lanes)
    while (left := ends - time.monotonic()) > 0:
        active = [lane for lane in lanes if lane.failed is None]
        if not active:
            break
        while sum(len(lane.pending) for lane in lanes) < capacity:
            min(active, key=lambda lane: lane.share).submit()
        wait([f for lane in lanes for f in lane.pending], TICK, FIRST_COMPLETED)
        for lane in active:
            lane.settle()
        ends += _report_new(active, screen)
        findings = sum(len(lane.kernel.findings) for lane in lanes)
        screen.show([lane.kernel for lane in lanes], findings, left)


def _report_new(lanes: list[Lane], screen: Screen) -> float:
    """Report what has failed and was not reported; the seconds that this took, if it ends them.

    A kernel that keeps going may have much to report: for that the clock goes on.
    """
    started, goes_on = time.monotonic(), any(lane.kernel.keeps_going for lane in lanes)
    new = [lane for lane in lanes if lane.failed and not lane.is_reported]
    for lane in new:
        lane.is_reported = True
        lane.report(screen.tell)
    return time.monotonic() - started if new and not goes_on else 0.0


def _jobs(kernel: KernelUnderTest) -> int:
    """Workers that may be busy at a time; judging keeps a core of the host busy, on a GPU too.

    In this process, one: drawing sets Python's random state, which a kernel must leave alone.
    """
    if kernel.in_process:
        return 1
    cores = os.cpu_count() or 1
    return min(cores, JOBS_PER_GPU) if kernel.worker.description["place"] != "cpu" else cores
