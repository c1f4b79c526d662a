"""Puts mutants to their stages until the first that notices, and remembers what came out."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field

from .cache import Cache
from .outcome import Outcome
from .plans import plan
from .processes import Processes, run_all
from .scratch import Tree
from .sites import Mutant
from .stages import VERSION, Stage

# All in seconds of processor time: how busy the machine is decides nothing.
PATIENCE = 4.0  # times what a stage takes on the code as it is
GRACE = 20.0  # on top
LONGEST = 600.0  # for a stage on the code as it is


class Waiting:
    """Trials whose next stage is to be run: the one that will have cost least by then comes first.

    So most mutants are killed, and most survivors known, long before dear stages run. Of equals the
    last one in comes first.
    """

    def __init__(self, cost):
        self._cost, self._count, self._heap = cost, itertools.count(), []

    def __bool__(self) -> bool:
        return bool(self._heap)

    def appendleft(self, trial: Trial) -> None:
        heapq.heappush(self._heap, (self._cost(trial), -next(self._count), trial))

    def popleft(self) -> Trial:
        cost, _, trial = heapq.heappop(self._heap)
        while self._heap and self._cost(trial) > cost:  # known by now
            self.appendleft(trial)
            cost, _, trial = heapq.heappop(self._heap)
        return trial


class BrokenBaseline(Exception):
    """A stage fails on the code as it is: it could tell nothing about a mutant."""


@dataclass
class Trial:
    """A mutant on its way through its stages."""

    mutant: Mutant
    stages: deque[Stage]
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def kill(self) -> Outcome | None:
        return next((outcome for outcome in self.outcomes if outcome.killed), None)

    @property
    def seconds(self) -> float:
        """Processor time of all its stages so far."""
        return sum(outcome.cpu for outcome in self.outcomes)

    @property
    def changed(self) -> dict[str, str]:
        return self.mutant.changed


class Scorer:
    """Scores mutants on copies of one tree; `watch(trials)` is told of every step.

    `limit` is the processor time of a stage in seconds; without it each stage is run on the code as
    it is before its first mutant; there it must pass, and gets a few times as long afterwards. What
    is not done at `ends` is not judged.
    """

    def __init__(
        self, tree: Tree, cache: Cache, jobs: int, watch=lambda trials: None, plan=plan,
        limit=None, ends=float("inf"),
    ):  # fmt: skip
        self.tree, self.cache, self.jobs, self.watch = tree, cache, jobs, watch
        self._plan, self._limit, self._ends = plan, limit, ends
        self._limits: dict[str, float] = {}
        self._usual: dict[str, float] = {}  # processor time of a stage on the code as it is

    def score(self, mutants: list[Mutant], until=lambda: False) -> list[Trial]:
        """The trials that came to their end; nothing begins any more once `until()` says so."""
        trials = [Trial(mutant, deque(self._plan(mutant, self.tree.root))) for mutant in mutants]
        processes = Processes(self.tree, self.jobs, self._ends)
        waiting = Waiting(self._cost)
        for trial in reversed(trials):
            if self._advance(trial):
                waiting.appendleft(trial)
        parked: dict[str, list[Trial]] = {}  # until a stage has been run on the code as it is

        def begin(trial: Trial) -> None:
            stage = trial.stages[0]
            if until():
                return
            if stage.name in parked:
                parked[stage.name].append(trial)
            elif self._limit_of(stage) is None:
                parked[stage.name] = [trial]
                processes.start(stage, stage, {}, LONGEST)
            else:
                processes.start(trial, stage, trial.changed, self._limit_of(stage))

        def note(what: Trial | Stage, outcome: Outcome) -> None:
            if isinstance(what, Stage):
                self.cache.put(self.key({}, what), outcome)
                self._learn(what, outcome)
                for trial in parked.pop(what.name):
                    waiting.appendleft(trial)
                return
            stage = what.stages.popleft()
            self.cache.put(self.key(what.changed, stage), outcome)
            what.outcomes.append(outcome)
            if self._advance(what):
                waiting.appendleft(what)
            self.watch(trials)

        run_all(processes, waiting, begin, note)
        return [trial for trial in trials if trial.kill or not trial.stages]

    def _advance(self, trial: Trial) -> bool:
        """Take what is known already; whether a stage is still to be run."""
        while trial.stages and not trial.kill:
            known = self.cache.get(self.key(trial.changed, trial.stages[0]))
            if known is None:
                return True
            trial.stages.popleft()
            trial.outcomes.append(known)
        return False

    def key(self, changed: dict[str, str], stage: Stage) -> str:
        return self.tree.key(changed, stage.reads, f"{stage.name} {VERSION}")

    def _cost(self, trial: Trial) -> float:
        """Processor time that it has taken, and that its next stage takes where that is known."""
        if self._limit:
            return 0.0  # one mutant after the other, so that a sample ends with whole ones
        name = trial.stages[0].name
        return trial.seconds + self._usual[name] if name in self._usual else 0.0

    def _limit_of(self, stage: Stage) -> float | None:
        """Processor time that it may take; None where it was not run on the code as it is yet."""
        if self._limit is None and stage.name not in self._limits:
            known = self.cache.get(self.key({}, stage))
            if known is not None:
                self._learn(stage, known)
        return self._limit or self._limits.get(stage.name)

    def _learn(self, stage: Stage, outcome: Outcome) -> None:
        if outcome.killed:
            raise BrokenBaseline(
                f"{stage.name} fails without any mutant: {outcome.verdict} {outcome.where} "
                f"{outcome.message}"
            )
        self._usual[stage.name] = outcome.cpu
        self._limits[stage.name] = PATIENCE * outcome.cpu + GRACE
