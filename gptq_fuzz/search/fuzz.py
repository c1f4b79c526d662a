"""`--budget`: cases drawn round after round and judged by several workers until the time is up.

A round is what Hypothesis draws from one seed, and a few cases built for pairs of axis values that
no case of this run has had yet, and once there are none for such triples. Those are kept by their
seed (`aimed`), since they depend on what was judged by then: a round can be drawn again from its
seed and those cases.
"""

from __future__ import annotations

import os
import queue
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, seed, settings

from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.coverage import pairs_of, triples_of
from gptq_fuzz.search.findings import shrink_and_report
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.pairwise import all_together, cases_for
from gptq_fuzz.search.search import Failure, Search
from gptq_fuzz.search.strategies import cases
from gptq_fuzz.worker.supervisor import Worker

AIMED = 15  # cases a round that are built for cold pairs and triples
ATTEMPTS = 2  # cases built for the same one, in case the first was skipped
ROUND = 50  # cases drawn from one seed; what Hypothesis draws again to shrink a failure
JOBS_PER_GPU = 8  # busy workers that share a GPU
Show = Callable[[list[KernelUnderTest], int, float], None]
TICK = 0.2  # seconds between two looks at the clock


@dataclass
class Lane:
    """One kernel's share of a fuzz run."""

    kernel: KernelUnderTest
    jobs: int
    seed: int
    drawn: deque = field(default_factory=deque)
    pending: dict[Future, tuple[int, Case]] = field(default_factory=dict)
    judged: dict[int, dict[Case, Verdict]] = field(default_factory=dict)  # by seed of the round
    aimed_at: Counter = field(default_factory=Counter)  # how often, by pair and triple
    failed: tuple[int, Case] | None = None  # the seed of its round, and the case

    def __post_init__(self) -> None:
        self.idle: queue.SimpleQueue = queue.SimpleQueue()
        more = [Worker(self.kernel.launch) for _ in range(self.jobs - 1)]
        self.workers = [self.kernel.worker, *more]
        for worker in self.workers:
            self.idle.put(worker)
        self.pool = ThreadPoolExecutor(len(self.workers))

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
        if aimed:
            self.kernel.aimed[at] = aimed
        self.drawn.extend((at, case) for case in aimed + drawn)

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

    def _judge(self, case: Case) -> Verdict:
        worker = self.idle.get()
        try:
            return self.kernel.judge(case, worker=worker)
        finally:
            self.idle.put(worker)

    def settle(self) -> None:
        """Take what is done; note the first round that holds a failure."""
        for done in [future for future in self.pending if future.done()]:
            at, case = self.pending.pop(done)
            verdict = done.result()
            self.judged.setdefault(at, {})[case] = verdict
            if not verdict.ok and self.failed is None:
                self.failed = at, case
                self.drawn.clear()

    def close(self) -> None:
        """Wait for what is in flight, and end the extra workers."""
        wait(self.pending)
        self.settle()
        self.pool.shutdown()
        for worker in self.workers[1:]:
            self.kernel.worker.compiled |= worker.compiled
            worker.stop()

    def shrink(self) -> None:
        """Draw the failing round again and let Hypothesis shrink it. Raises Failure.

        A case that was built for cold pairs is not among what is drawn: single steps shrink it.
        """
        at, case = self.failed
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
    kernels: list[KernelUnderTest], seconds: float, base: int, show: Show | None = None
) -> list[str]:
    """Fuzz all kernels side by side for `seconds`; the texts of what was found, shrunk.

    `show(kernels, findings, seconds left)` is called a few times a second.
    """
    lanes = [Lane(kernel, _jobs(kernel), base) for kernel in kernels]
    capacity = max(lane.jobs for lane in lanes)
    for lane in lanes:
        lane.start()
    ends = time.monotonic() + seconds
    try:
        while (left := ends - time.monotonic()) > 0:
            active = [lane for lane in lanes if lane.failed is None]
            if not active:
                break
            while sum(len(lane.pending) for lane in lanes) < capacity:
                min(active, key=lambda lane: lane.share).submit()
            wait([f for lane in lanes for f in lane.pending], TICK, FIRST_COMPLETED)
            for lane in lanes:
                lane.settle()
            if show:
                show(kernels, sum(lane.failed is not None for lane in lanes), left)
    finally:
        for lane in lanes:
            lane.close()
    return [text for lane in lanes if lane.failed is not None and (text := _found(lane))]


def _found(lane: Lane) -> str:
    try:
        lane.shrink()
    except Failure as failure:
        return str(failure)
    return ""


def _jobs(kernel: KernelUnderTest) -> int:
    """Workers that may be busy at a time; judging keeps a core of the host busy, on a GPU too.

    In this process, one: drawing sets Python's random state, which a kernel must leave alone.
    """
    if kernel.in_process:
        return 1
    cores = os.cpu_count() or 1
    return min(cores, JOBS_PER_GPU) if kernel.worker.description["place"] != "cpu" else cores
