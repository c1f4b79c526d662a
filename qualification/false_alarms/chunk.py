"""One chunk: one correct kernel, the cases of one seed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Backend
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.museum.catalogue import MUSEUM, correct
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.oracle.judge import EXTRA_ROUNDINGS, LAMBDA
from gptq_fuzz.search.fuzz import draw_round
from gptq_fuzz.worker.loader import load

ROOT = Path(__file__).resolve().parents[2]
CONTROL = "torch"
JUDGING = "backend case execute fills judge layouts operands philox relations rounding surroundings"
TALL = 2  # cases of a chunk that get many rows
TALL_ELEMENTS = 400_000  # of the result
TALL_WORK = 2e8  # multiplications
TALL_INPUT = 4e6  # elements of x
LONGEST_SHORT = LAMBDA**2 - EXTRA_ROUNDINGS  # terms: beyond, a probability bounds their sum
ONE_PRODUCT = ("onehot", "lanes")


@dataclass
class Tally:
    """What was judged of one kernel."""

    cases: int = 0
    elements: int = 0
    seconds: float = 0.0
    alarms: list[dict] = field(default_factory=list)
    used: dict[str, dict[str, list]] = field(default_factory=dict)

    def add(self, case: Case, verdict: Verdict) -> None:
        """Count one verdict; what was skipped is not judged."""
        self.seconds += verdict.seconds
        if verdict.kind == kinds.SKIPPED:
            return
        self.cases += 1
        self.elements += case.m * case.columns
        if not verdict.ok:
            said = {"line": verdict.line, "check": verdict.check, "said": verdict.headline()}
            self.alarms.append(said)
        is_short = case.reduction <= LONGEST_SHORT or case.fill in ONE_PRODUCT
        length = "short" if is_short else "long"
        self._use(case.fill, length, [verdict.used, verdict.line])

    def merge(self, other: Tally) -> None:
        """Add what another chunk found."""
        self.cases += other.cases
        self.elements += other.elements
        self.seconds += other.seconds
        self.alarms += other.alarms
        for fill, lengths in other.used.items():
            for length, share in lengths.items():
                self._use(fill, length, share)

    def _use(self, fill: str, length: str, share: list) -> None:
        lengths = self.used.setdefault(fill, {})
        lengths[length] = max(lengths.get(length, [-1.0, ""]), share)


def kernels() -> dict[str, str]:
    """Name -> what --kernel takes."""
    return {exhibit.name: exhibit.spec for exhibit in correct()} | {CONTROL: CONTROL}


def digest(name: str) -> str:
    """Of everything that decides whether a case of this kernel raises an alarm.

    What draws the cases is left out: a case drawn another way was judged all the same.
    """
    suite = [ROOT / "tests" / "suite" / f"{module}.py" for module in JUDGING.split()]
    own = [ROOT / "tests" / "suite" / "control.py"]
    if name != CONTROL:
        own = [MUSEUM / "correct" / f"{name}.py", MUSEUM / "museum_parts.py"]
    paths = [Path(__file__), *suite, *own, *sorted((ROOT / "reference").glob("*.py"))]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def judge_chunk(name: str, seed: int, talls: int = TALL) -> Tally:
    """Judge the drawn cases of one seed, each with one further check, and the tall ones."""
    backend = load(kernels()[name], str(ROOT))
    drawn = draw_round(backend, seed)
    tally = Tally()
    _judge(backend, drawn, None, tally)
    _judge(backend, [tall(case) for case in drawn[:talls]], (), tally)
    return tally


def _judge(backend: Backend, cases: Iterable[Case], checks, tally: Tally) -> None:
    for case in cases:  # in this process: a correct kernel does not end it
        started = time.process_time()
        verdict = Examination(backend, case, "cpu", Request(checks)).verdict()
        verdict.seconds = time.process_time() - started
        tally.add(case, verdict)


def tall(case: Case) -> Case:
    """The same problem with as many rows as are cheap; no two rows are alike by layout."""
    per_row = case.columns * case.reduction
    affordable = (TALL_ELEMENTS / case.columns, TALL_WORK / per_row, TALL_INPUT / case.reduction)
    layout = "" if case.layout == "bcast" else case.layout
    return case.replace(m=int(min(affordable)), rank=max(case.rank, 2), layout=layout)
