"""`--equivalents`: what the ledger calls the same gives the same bits in 10^4 cases.

Cases are asked in parts, so a run goes on where it was broken off. The first part is asked of a
version with a trap in place of the mutant too: a probe that never comes there proves nothing.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from .hostbuild import NOT_BUILT
from .outcome import Outcome
from .probes import PARTS, probe_stage, probes_of
from .processes import Processes, run_all
from .reach import trapped
from .score import Scorer
from .sites import ROOT, Mutant
from .stages import Stage

STATE = ROOT / "benchmarks" / "equivalents.json"
SECONDS = 3600.0  # for one part of a probe
REACHED, PAST, OUTSIDE, UNKNOWN = "reached", "not reached", "outside of functions", "not asked"


@dataclass(frozen=True)
class Proof:
    """What one probe tells of one mutant.

    `differs` is the seed by which two versions differ, "" where none of `cases` shows it; `reach`
    says whether the probe comes to the mutant; `whole` is True once every part was asked.
    """

    mutant: Mutant
    probe: str
    cases: int
    differs: str
    reach: str
    whole: bool

    @property
    def holds(self) -> bool:
        return self.whole and not self.differs and self.reach in (REACHED, OUTSIDE)

    def text(self) -> str:
        said = f"differ: {self.differs}" if self.differs else f"{self.cases} cases of the same bits"
        return f"{self.mutant.id} | {self.probe}: {said}, {self.reach}"


def write(proofs: list[Proof], path: Path = STATE) -> None:
    """Keep what was shown, a line for each mutant and probe."""
    told = [
        {"id": p.mutant.id, "probe": p.probe, "cases": p.cases, "reach": p.reach}
        | ({"differs": p.differs} if p.differs else {})
        for p in sorted(proofs, key=lambda proof: (proof.mutant.id, proof.probe))
    ]
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in told)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def prove(
    mutants: list[Mutant], scorer: Scorer, parts: int = PARTS, watch=lambda done, total: None,
    until: Callable[[], bool] = lambda: False,
) -> list[Proof]:  # fmt: skip
    """What is known, for each mutant and each probe of its area, after asking the rest.

    Nothing is asked any more once `until()` says so; `watch(done, total)` is told of every step.
    """
    pairs = [(m, probe) for m in mutants for probe in probes_of(m.area, m.path)]
    asked = [q for part in range(parts) for pair in pairs for q in _questions(*pair, part, scorer)]
    _ask(asked, scorer, watch, until)
    return [_proof(mutant, probe, scorer, parts) for mutant, probe in pairs]


def unproven(proofs: list[Proof]) -> list[str]:
    """Ids of the mutants that a probe tells from the original, or that no probe is a proof for."""
    differ = {proof.mutant.id for proof in proofs if proof.differs}
    held = {proof.mutant.id for proof in proofs if proof.holds} - differ
    return [name for name in dict.fromkeys(p.mutant.id for p in proofs) if name not in held]


def _questions(mutant: Mutant, probe: str, part: int, scorer: Scorer) -> list[tuple[dict, Stage]]:
    """One part of one probe, asked of the original, the mutant and, in the first part, the trap."""
    trap = None if part else _trap(mutant, scorer)
    versions = [{}, mutant.changed, *([trap.changed] if trap else [])]
    return [(version, probe_stage(probe, part)) for version in versions]


def _trap(mutant: Mutant, scorer: Scorer) -> Mutant | None:
    return trapped(mutant, (scorer.tree.root / mutant.path).read_text(encoding="utf-8"))


def _ask(questions: list[tuple[dict, Stage]], scorer: Scorer, watch, until) -> None:
    """Run every part whose result is not known yet, each once."""
    keys = {scorer.key(*question): question for question in questions}
    waiting = deque(key for key in keys if scorer.cache.get(key) is None)
    processes, total, done = Processes(scorer.tree, scorer.jobs), len(waiting), count(1)

    def begin(key: str) -> None:
        if not until():
            changed, stage = keys[key]
            processes.start(key, stage, changed, SECONDS)

    def note(key: str, outcome: Outcome) -> None:
        scorer.cache.put(key, outcome)
        watch(next(done), total)

    run_all(processes, waiting, begin, note)


def _proof(mutant: Mutant, probe: str, scorer: Scorer, parts: int) -> Proof:
    cases, differs, known = 0, "", 0
    for part in range(parts):
        right, other = (_known(version, probe, part, scorer) for version in ({}, mutant.changed))
        if right is None or other is None:
            continue
        known += 1
        cases += sum(note["cases"] for note in right.notes)
        differs = differs or _difference(right, other)
    reach = _reach(mutant, probe, scorer)
    return Proof(mutant, probe, cases, differs, reach, known == parts and cases > 0)


def _known(changed: dict[str, str], probe: str, part: int, scorer: Scorer) -> Outcome | None:
    return scorer.cache.get(scorer.key(changed, probe_stage(probe, part)))


def _difference(right: Outcome, other: Outcome) -> str:
    """The first seed whose cases differ, or how a version fails; "" where all are the same."""
    failed = next((outcome for outcome in (right, other) if outcome.killed), None)
    if failed:
        return f"{failed.verdict} {failed.message}"
    pairs = zip(right.notes, other.notes, strict=True)
    return next((f"seed {mine['seed']}" for mine, theirs in pairs if mine != theirs), "")


def _reach(mutant: Mutant, probe: str, scorer: Scorer) -> str:
    trap = _trap(mutant, scorer)
    if trap is None:
        return OUTSIDE
    right, caught = (_known(version, probe, 0, scorer) for version in ({}, trap.changed))
    if right is None or caught is None or caught.verdict == NOT_BUILT:
        return UNKNOWN
    return REACHED if _difference(right, caught) else PAST
