"""Puts mutants to their stages until the first that notices, and remembers what came out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from .cache import Cache
from .outcome import Outcome
from .plans import plan
from .processes import Processes, run_all
from .scratch import Tree
from .sites import Mutant
from .stages import VERSION, Stage

PATIENCE = 4.0  # times what a stage takes on the code as it is
GRACE = 30.0  # seconds on top: this machine may be busy with other things
LONGEST = 600.0  # for a stage on the code as it is


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

    `limit` is the time limit of a stage in seconds; without it each stage is run on the code as it
    is first, where it must pass, and a few times as long is given to it.
    """

    def __init__(
        self, tree: Tree, cache: Cache, jobs: int, watch=lambda trials: None, plan=plan, limit=None
    ):
        self.tree, self.cache, self.jobs, self.watch = tree, cache, jobs, watch
        self._plan, self._limit = plan, limit
        self._limits: dict[str, float] = {}

    def score(self, mutants: list[Mutant], until=lambda: False) -> list[Trial]:
        """The trials that came to their end; nothing begins any more once `until()` says so."""
        trials = [Trial(mutant, deque(self._plan(mutant, self.tree.root))) for mutant in mutants]
        if self._limit is None:
            self._time({stage.name: stage for trial in trials for stage in trial.stages})
        processes = Processes(self.tree, self.jobs)
        waiting = deque(trial for trial in trials if self._advance(trial))

        def begin(trial: Trial) -> None:
            if not until():
                stage = trial.stages[0]
                limit = self._limit or self._limits[stage.name]
                processes.start(trial, stage, trial.changed, limit)

        def note(trial: Trial, outcome: Outcome) -> None:
            stage = trial.stages.popleft()
            self.cache.put(self.key(trial.changed, stage), outcome)
            trial.outcomes.append(outcome)
            if self._advance(trial):
                waiting.appendleft(trial)
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

    def _time(self, stages: dict[str, Stage]) -> None:
        """Run every stage on the code as it is: it must pass, and gives the time limit."""
        waiting, processes = deque(), Processes(self.tree, self.jobs)
        for stage in stages.values():
            known = self.cache.get(self.key({}, stage))
            if known is None:
                waiting.append(stage)
            else:
                self._learn(stage, known)

        def note(stage: Stage, outcome: Outcome) -> None:
            self._learn(stage, outcome)
            self.cache.put(self.key({}, stage), outcome)

        run_all(processes, waiting, lambda s: processes.start(s, s, {}, LONGEST), note)

    def _learn(self, stage: Stage, outcome: Outcome) -> None:
        if outcome.killed:
            raise BrokenBaseline(
                f"{stage.name} fails without any mutant: {outcome.verdict} {outcome.where} "
                f"{outcome.message}"
            )
        self._limits[stage.name] = PATIENCE * outcome.seconds + GRACE
