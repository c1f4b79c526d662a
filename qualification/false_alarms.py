"""`python -m qualification.false_alarms`: correct kernels that round differently must all pass.

Cases are drawn as a fuzz run draws them, 50 from each seed, and judged as the suite does, each with
one further check; two of each seed get so many rows that elements add up. The kernels are those of
gptq_fuzz/museum/correct and the control. "Short" sums are bounded by the worst case, which may be
reached; "long" ones with a probability; the last rounding is left out of the share of a bound.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Backend
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.museum.catalogue import correct
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.oracle.judge import EXTRA_ROUNDINGS, LAMBDA
from gptq_fuzz.search.fuzz import draw_round
from gptq_fuzz.worker.loader import load
from qualification.report import RESULTS, ROOT, say, write_results

CONTROL = "torch"
CASES, PER_SEED = 1_000, 50
TALL = 2  # cases of a seed that get many rows
TALL_ELEMENTS = 400_000  # of the result
TALL_WORK = 2e8  # multiplications
TALL_INPUT = 4e6  # elements of x
LONGEST_SHORT = LAMBDA**2 - EXTRA_ROUNDINGS  # terms: beyond, a probability bounds their sum
ONE_PRODUCT = ("onehot", "lanes")
ROW = "{:<24}{:>7}{:>11}{:>8}{:>7}{:>6}"  # the last two: the most of a bound that was used


@dataclass
class Tally:
    """What was judged of one kernel; `used` is the largest share of a bound and its line."""

    cases: int = 0
    elements: int = 0
    seconds: float = 0.0
    alarms: list[str] = field(default_factory=list)
    used: dict[str, tuple[float, str]] = field(default_factory=dict)

    def add(self, case: Case, verdict: Verdict) -> None:
        """Count one verdict; what was skipped is not judged."""
        if verdict.kind == kinds.SKIPPED:
            return
        self.cases += 1
        self.elements += case.m * case.columns
        if not verdict.ok:
            self.alarms.append(f"{verdict.line} ({verdict.check}): {verdict.headline()}")
        is_short = case.reduction <= LONGEST_SHORT or case.fill in ONE_PRODUCT
        length = "short" if is_short else "long"
        self.used[length] = max(self.used.get(length, (0.0, "")), (verdict.used, verdict.line))

    def merge(self, other: Tally) -> None:
        """Add what another seed found."""
        for name in ("cases", "elements", "seconds", "alarms"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for length, share in other.used.items():
            self.used[length] = max(self.used.get(length, (0.0, "")), share)


def kernels() -> dict[str, str]:
    """Name -> what --kernel takes."""
    return {exhibit.name: exhibit.spec for exhibit in correct()} | {CONTROL: CONTROL}


def judge_chunk(name: str, seed: int, talls: int = TALL) -> Tally:
    """Judge the drawn cases of one seed, each with one further check, and the tall ones."""
    backend = load(kernels()[name], str(ROOT))
    drawn = draw_round(backend, seed)
    tally, started = Tally(), time.process_time()
    _judge(backend, drawn, None, tally)
    _judge(backend, [tall(case) for case in drawn[:talls]], (), tally)
    tally.seconds = time.process_time() - started
    return tally


def _judge(backend: Backend, cases: Iterable[Case], checks, tally: Tally) -> None:
    # In this process: a correct kernel does not end it, though its operands end where memory does
    request = Request(checks, announce=lambda check, what: None)
    for case in cases:
        tally.add(case, Examination(backend, case, "cpu", request).verdict())


def tall(case: Case) -> Case:
    """The same problem with as many rows as are cheap; no two rows are alike by layout."""
    per_row = case.columns * case.reduction
    affordable = (TALL_ELEMENTS / case.columns, TALL_WORK / per_row, TALL_INPUT / case.reduction)
    layout = "" if case.layout == "bcast" else case.layout
    return case.replace(m=int(min(affordable)), rank=max(case.rank, 2), layout=layout)


def main(arguments: list[str]) -> int:
    """0 where no correct kernel is called wrong, 1 otherwise."""
    options = parser().parse_args(arguments)
    chosen = options.kernel or list(kernels())
    seeds = range(options.seed, options.seed + -(-options.cases // PER_SEED))
    say(f"false alarms: seeds {seeds.start} to {seeds.stop - 1} for {len(chosen)} kernels")
    work = [(name, seed) for seed in seeds for name in chosen]
    tallies = {name: Tally() for name in chosen}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, spawn, initializer=_one_quiet_thread) as pool:
        judged = pool.map(judge_chunk, *zip(*work, strict=True))
        for (name, _), tally in zip(work, judged, strict=True):
            tallies[name].merge(tally)
    say(ROW.format("kernel", "cases", "elements", "alarms", "short", "long"))
    for name, tally in tallies.items():
        shares = [f"{tally.used.get(length, (0.0, ''))[0]:.2f}" for length in ("short", "long")]
        elements = f"{tally.elements:.3g}"
        say(ROW.format(name, tally.cases, elements, len(tally.alarms), *shares))
    alarms = [f"{name}: {alarm}" for name, tally in tallies.items() for alarm in tally.alarms]
    for alarm in alarms:
        say(alarm)
    total = sum(tally.cases for tally in tallies.values())
    say(f"{len(alarms)} false alarms in {total} cases")
    found = {name: dataclasses.asdict(tally) for name, tally in tallies.items()}
    write_results("false_alarms", found, options.results)
    return int(bool(alarms))


def parser() -> argparse.ArgumentParser:
    built = argparse.ArgumentParser("python -m qualification.false_alarms", description=__doc__)
    built.add_argument("--cases", type=int, default=CASES, help="of each kernel (%(default)s)")
    built.add_argument("--kernel", action="append", choices=list(kernels()), help="repeatable")
    built.add_argument("--seed", type=int, default=random.randrange(10**6), help="the first one")
    built.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    built.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON")
    return built


def _one_quiet_thread() -> None:
    """As a worker is set up; what a kernel prints is not ours to print."""
    import torch

    torch.set_num_threads(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
