"""`--matrix`: every oracle and fill against every mutant and museum piece, to the end.

They run in one process for each mutant; one that dies goes on behind the oracle that it died of. A
relation counts only where the values themselves are right in the same case. Mutants of the suite
are left out: they change what would judge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.museum.catalogue import correct, faulty
from tests.museum.run import STATE, read

from .hostbuild import use_compiler
from .outcome import Outcome
from .plans import plan
from .processes import Processes, run_all
from .record import NOT_BUILT
from .score import GRACE, Scorer
from .sites import ROOT, Mutant
from .stages import Stage, draw, read_by, simplest

CASES_PER_FILL = 10
CASES_PER_CHECK = 8
REFUSALS = 24
MUSEUM, CORRECT = "museum", "correct"  # an area beside those of the mutants; no bug
SEARCHED, NEVER = "found by search", "never drawn"  # what the museum's own record says of a piece
MUSEUM_READS = ("reference", "tests/suite", "tests/museum")
SECONDS = 240.0  # for all oracles of one mutant, under way; beyond the usual grace


@dataclass(frozen=True)
class Kill:
    """One cell of the table: this oracle saw this mutant."""

    oracle: str
    verdict: str
    line: str
    seconds: float


@dataclass
class Row:
    """A mutant or a museum piece, all that saw it, and in `scored` what became of it elsewhere.

    Of a mutant that is the stage that killed it first, or a word of record.py; of a museum piece
    SEARCHED, NEVER, or "" where benchmarks/museum.json does not know it or it is correct.
    """

    name: str
    area: str
    what: str
    scored: str = ""
    kills: list[Kill] = field(default_factory=list)

    @property
    def oracles(self) -> set[str]:
        return {kill.oracle for kill in self.kills}


@dataclass
class Entry:
    """One row under way: `spec` is the kernel, `seen` the oracles that are done with."""

    row: Row
    spec: str
    changed: dict[str, str]
    reads: tuple[str, ...]
    skip: tuple[str, ...] = ()
    finished: bool = False

    def stage(self) -> Stage:
        """All oracles that are left."""
        return oracle_stage(self.spec, self.skip, self.reads)


def oracle_stage(spec: str, skip: tuple[str, ...], reads: tuple[str, ...]) -> Stage:
    """All oracles of the suite but those in `skip`; each notes what it saw and how long it took."""

    def run(tell) -> Outcome:
        import time

        from tests.suite.worker import Served

        tell(at="start")
        if spec == "exllama":
            use_compiler()
        served = Served({"spec": spec, "started_in": ".", "device": "cpu", "zones": True})
        for name, questions in questions_of(served.backend):
            if name in skip:
                continue
            tell(at=name)
            began = time.process_time()
            found = _first_kill(served, name, questions)
            tell(note={"oracle": name, **found, "seconds": time.process_time() - began})
        return Outcome("oracles")

    return Stage(f"oracles {spec} without {skip}", reads, run)


def questions_of(backend) -> Iterator[tuple[str, list]]:
    """(name, [(case, checks)]): fills, then relations, then what must be refused."""
    from tests.suite.relations import RELATIONS
    from tests.suite.strategies import cases, refusals

    limits = backend.limits
    for fill in limits.fills:
        yield fill, [(case, ()) for case in draw(cases(limits, fill=fill), CASES_PER_FILL)]
    shared = draw(cases(limits), CASES_PER_CHECK)
    for check in ("repeat", "decoy", *RELATIONS):
        yield check, [(case, (check,)) for case in shared]
    if limits.bad or limits.refuses_outside:
        yield "refusals", [(case, ()) for case in draw(refusals(limits), REFUSALS)]


def _first_kill(served, name: str, questions: list) -> dict:
    """{} or verdict and line of the first case that this oracle itself sees wrong."""
    for case, checks in questions:
        verdict = served.judge({"line": str(case), "checks": checks, "calls": 2, "seconds": 1.0})
        if verdict.ok or (checks and verdict.check == "value"):
            continue
        verdict = simplest(served, case, verdict)
        return {"verdict": verdict.kind, "line": verdict.line}
    return {}


class Matrix:
    """Fills the table; `watch(entries)` is told of every step."""

    def __init__(self, scorer: Scorer, watch=lambda entries: None):
        self.scorer, self.watch = scorer, watch

    def rows(self, mutants: list[Mutant], scored: dict[str, str], museum: bool) -> list[Row]:
        """A row for each mutant of the kernels and, where wanted, for each museum piece.

        `scored` says of each mutant, by its id, what Row.scored is to be.
        """
        kernels = [mutant for mutant in mutants if mutant.area != "suite"]
        entries = [_entry_of(mutant, scored.get(mutant.id, "")) for mutant in kernels]
        if museum:
            met = {name for name, made in read(STATE).items() if made.caught}
            entries += [_exhibit(piece, met) for piece in (*faulty(), *correct())]
        tree, cache = self.scorer.tree, self.scorer.cache
        processes = Processes(tree, self.scorer.jobs)
        waiting = deque(entry for entry in entries if self._advance(entry))

        def begin(entry: Entry) -> None:
            processes.start(entry, entry.stage(), entry.changed, SECONDS + GRACE)

        def note(entry: Entry, outcome: Outcome) -> None:
            cache.put(self._key(entry), outcome)
            _take(entry, outcome)
            if self._advance(entry):
                waiting.appendleft(entry)
            self.watch(entries)

        run_all(processes, waiting, begin, note)
        return [entry.row for entry in entries if entry.row.scored != NOT_BUILT]

    def _key(self, entry: Entry) -> str:
        return self.scorer.key(entry.changed, entry.stage())

    def _advance(self, entry: Entry) -> bool:
        """Take what is known already; whether oracles are still to be run."""
        while not entry.finished:
            known = self.scorer.cache.get(self._key(entry))
            if known is None:
                return True
            _take(entry, known)
        return False


def _entry_of(mutant: Mutant, scored: str) -> Entry:
    of_exllama = any(stage.name.startswith("exllama") for stage in plan(mutant))
    spec = "exllama" if of_exllama else "triton"
    row = Row(mutant.id, mutant.area, mutant.change, scored)
    return Entry(row, spec, mutant.changed, read_by(spec), finished=scored == NOT_BUILT)


def _exhibit(piece, met: set[str]) -> Entry:
    spec = Path(piece.spec.rpartition(":")[0]).relative_to(ROOT).as_posix() + ":f"
    scored = SEARCHED if piece.name in met else NEVER if piece.missed else ""
    row = Row(f"museum/{piece.name}", MUSEUM, piece.bug or CORRECT, scored)
    return Entry(row, spec, {}, MUSEUM_READS)


def _take(entry: Entry, outcome: Outcome) -> None:
    """Add what the oracles saw to the row; where the process died, the rest is still to be run."""
    kills = entry.row.kills
    done = [note["oracle"] for note in outcome.notes]
    kills += [
        Kill(note["oracle"], note["verdict"], note["line"], note["seconds"])
        for note in outcome.notes
        if "verdict" in note
    ]
    entry.finished = not outcome.killed or outcome.check == "import" or outcome.where == "start"
    if outcome.killed:
        place = "import" if entry.finished else outcome.where
        kills.append(Kill(place, outcome.verdict, outcome.message, outcome.cpu))
        done.append(place)
    entry.skip = (*entry.skip, *done)
