"""`--equivalents`: what the ledger calls the same gives the same bits in 10^4 cases."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .outcome import Outcome
from .probes import CASES, probe_stage, probes_of
from .processes import Processes, run_all
from .score import Scorer
from .sites import Mutant
from .stages import Stage

SECONDS = 7200.0  # for one probe


@dataclass(frozen=True)
class Proof:
    """`differs` is the case by which two versions differ, None where none of `cases` shows it."""

    mutant: Mutant
    probe: str
    cases: int
    differs: str | None

    def text(self) -> str:
        said = f"differ: {self.differs}" if self.differs else f"{self.cases} cases of the same bits"
        return f"{self.mutant.id} | {self.probe}: {said}"


def prove(mutants: list[Mutant], scorer: Scorer, count: int = CASES) -> list[Proof]:
    """A proof, or its failure, for each mutant and each probe of its area."""
    pairs = [
        (mutant, probe_stage(probe, count))
        for mutant in mutants
        for probe in probes_of(mutant.area, mutant.path)
    ]
    wanted = [({}, stage) for stage in {s.name: s for _, s in pairs}.values()]
    wanted += [(mutant.changed, stage) for mutant, stage in pairs]
    _observe(wanted, scorer)
    return [_compare(mutant, stage, scorer) for mutant, stage in pairs]


def _observe(wanted: list[tuple[dict, Stage]], scorer: Scorer) -> None:
    """Run every probe whose result is not known yet."""
    processes = Processes(scorer.tree, scorer.jobs)
    waiting = deque(item for item in wanted if scorer.cache.get(scorer.key(*item)) is None)

    def begin(item) -> None:
        processes.start(item, item[1], item[0], SECONDS)

    def note(item, outcome: Outcome) -> None:
        scorer.cache.put(scorer.key(*item), outcome)
        scorer.watch(waiting)

    run_all(processes, waiting, begin, note)


def _compare(mutant: Mutant, stage: Stage, scorer: Scorer) -> Proof:
    right = scorer.cache.get(scorer.key({}, stage))
    other = scorer.cache.get(scorer.key(mutant.changed, stage))
    cases = right.notes[-1]["cases"] if right.notes else 0
    if other.killed or right.killed or not cases:
        return Proof(mutant, stage.name, cases, f"{other.verdict} {other.message}")
    for mine, theirs in zip(right.notes, other.notes, strict=True):
        if mine != theirs:
            return Proof(mutant, stage.name, cases, f"by case {mine['cases']}")
    return Proof(mutant, stage.name, cases, None)
