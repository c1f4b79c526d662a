"""What a run says: survivors, the score by operator and area, what killed, and all as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .gpu import Shown
from .hostbuild import NOT_BUILT
from .ledger import GPU, SAME, Entry
from .processes import TIMED_OUT
from .rules import OPERATORS
from .score import Trial

AREAS = ("triton", "autotuner", "pack", "door", "exllama", "cuda", "host", "suite", "known")


class Result:
    """Trials, what the ledger says about those that survived, and which of them a GPU has killed.

    `there` has the latter by id, as `gpu.killed_there` gives them.
    """

    def __init__(
        self, trials: list[Trial], ledger: dict[str, Entry], there: dict[str, Shown] | None = None
    ):
        self.ledger, self.there = ledger, there or {}
        self.stillborn = [t for t in trials if t.kill and t.kill.verdict == NOT_BUILT]
        self.trials = [t for t in trials if t not in self.stillborn]
        self.killed = [trial for trial in self.trials if trial.kill]
        survivors = [trial for trial in self.trials if not trial.kill]
        self.same = [trial for trial in survivors if self._kind(trial) == SAME]
        gpu = [trial for trial in survivors if self._kind(trial) == GPU]
        self.killed_there = [trial for trial in gpu if trial.mutant.id in self.there]
        self.gpu = [trial for trial in gpu if trial.mutant.id not in self.there]
        self.unexplained = [trial for trial in survivors if not self._kind(trial)]

    def _kind(self, trial: Trial) -> str:
        entry = self.ledger.get(trial.mutant.id)
        return entry.kind if entry else ""

    @property
    def wrongly_excused(self) -> list[Trial]:
        """Killed, and yet in the ledger."""
        return [trial for trial in self.killed if trial.mutant.id in self.ledger]

    @property
    def score(self) -> float:
        """Share of the mutants that are not equivalent which were killed."""
        killed = len(self.killed) + len(self.killed_there)
        return killed / max(1, len(self.trials) - len(self.same))

    def headline(self) -> str:
        timed_out = sum(trial.kill.verdict == TIMED_OUT for trial in self.killed)
        return (
            f"mutants: {len(self.trials)} scored, {len(self.killed)} killed "
            f"({timed_out} by time-out), {len(self.killed_there)} more on a GPU, {len(self.same)} "
            f"equivalent, {len(self.gpu)} only a GPU can tell, {len(self.unexplained)} survive "
            f"unexplained; score {self.score:.1%} of those that are not equivalent"
        )


def exit_status(result: Result) -> int:
    """1 where somebody survives without a reason, or has one and is killed, or none was judged."""
    return 1 if result.unexplained or result.wrongly_excused or not result.trials else 0


def write(console: Console, result: Result) -> None:
    """Everything, for a reader."""
    for trial in result.stillborn:
        console.print(f"does not compile, not counted: {trial.mutant.id}", soft_wrap=True)
    for trial in result.wrongly_excused:
        console.print(f"in the ledger, but killed: {trial.mutant.id}", soft_wrap=True)
    for trial in (*result.gpu, *result.unexplained):
        entry = result.ledger.get(trial.mutant.id)
        why = f" ({entry.argument})" if entry else ""
        place = f"{trial.mutant.path}:{trial.mutant.line}"
        text = f"survives: {trial.mutant.id} | {trial.mutant.change} | {place}{why}"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    console.print(_score_table(result))
    console.print(_stage_table(result))
    console.print(result.headline(), soft_wrap=True, highlight=False)


def _score_table(result: Result) -> Table:
    """Killed of scored, by operator and area; equivalent ones are left out."""
    scored = [trial for trial in result.trials if trial not in result.same]
    areas = [area for area in AREAS if any(trial.mutant.area == area for trial in scored)]
    table = Table("operator", *areas, "all", title="killed of scored, without equivalent ones")
    for operator in (*OPERATORS, "known", None):
        cells = [_cell(scored, operator, area) for area in (*areas, None)]
        if cells[-1]:
            table.add_row(operator or "all", *cells)
    return table


def _cell(trials: list[Trial], operator: str | None, area: str | None) -> str:
    chosen = [
        trial
        for trial in trials
        if operator in (None, trial.mutant.operator) and area in (None, trial.mutant.area)
    ]
    return f"{sum(trial.kill is not None for trial in chosen)}/{len(chosen)}" if chosen else ""


def _stage_table(result: Result) -> Table:
    """What killed how many, and in which time."""
    table = Table("stage", "verdict", "killed", "median CPU s", title="first kills")
    counts = Counter((trial.kill.stage, trial.kill.verdict) for trial in result.killed)
    for (stage, verdict), count in counts.most_common():
        times = sorted(
            trial.kill.cpu
            for trial in result.killed
            if (trial.kill.stage, trial.kill.verdict) == (stage, verdict)
        )
        table.add_row(stage, verdict, str(count), f"{times[len(times) // 2]:.1f}")
    return table


def write_json(path: Path, result: Result) -> None:
    """One entry for each mutant: what it is, what killed it, with which line, in which time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "headline": result.headline(),
        "score": result.score,
        "mutants": [_entry(trial, result) for trial in result.trials],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _entry(trial: Trial, result: Result) -> dict:
    mutant, entry = trial.mutant, result.ledger.get(trial.mutant.id)
    return {
        "id": mutant.id,
        "operator": mutant.operator,
        "area": mutant.area,
        "place": f"{mutant.path}:{mutant.line}",
        "change": mutant.change,
        "killed_by": asdict(trial.kill) if trial.kill else None,
        "explained": asdict(entry) if entry else None,
        "cpu_seconds": round(trial.seconds, 2),
    }
