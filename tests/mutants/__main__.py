"""`python -m tests.mutants`: makes faulty versions of our code and tells what notices each."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from pathlib import Path

# Before torch and triton start: mutants are judged on the CPU, in Triton's interpreter.
os.environ |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}

import hypothesis  # noqa: F401 - what every child needs is imported once, before it is forked
import numpy  # noqa: F401
import pytest  # noqa: F401
import torch  # noqa: F401
import triton.language  # noqa: F401
from rich.console import Console

from . import listing, report
from .cache import Cache
from .ledger import read_ledger
from .progress import Progress
from .score import BrokenBaseline, Scorer, Trial
from .scratch import Tree
from .sites import ROOT, Mutant

SAMPLED = 40  # mutants that `--sample` takes
SAMPLE_SECONDS = 150.0  # after which it begins no other
RESULTS = ROOT / "results" / "mutants.json"


def main(arguments: list[str]) -> int:
    """The exit status: 0 all killed or explained, 1 not, 2 a usage error."""
    options = parser().parse_args(arguments)
    console = Console()
    if options.list:
        listing.LIST.write_text(listing.current(), encoding="utf-8")
        return 0
    mutants = _wanted(options)
    if not mutants:
        parser().error(f"no mutant is called {options.only!r}; tests/mutants/list.txt has them all")
    try:
        result = _score(mutants, options, console)
    except BrokenBaseline as problem:
        console.print(str(problem), soft_wrap=True, highlight=False)
        return 1
    report.write(console, result)
    report.write_json(options.json, result)
    return 1 if result.unexplained or result.wrongly_excused else 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("python -m tests.mutants", description=__doc__)
    made.add_argument("--list", action="store_true", help="write tests/mutants/list.txt anew")
    made.add_argument(
        "--sample", nargs="?", type=int, metavar="NUMBER", const=_today(),
        help=f"{SAMPLED} mutants within 3 minutes; others on each day, or for each NUMBER",
    )  # fmt: skip
    made.add_argument("--only", default="", metavar="TEXT", help="mutants whose id holds TEXT")
    made.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    made.add_argument("--json", type=Path, default=RESULTS, help="where the results are written")
    made.add_argument("--fresh", action="store_true", help="forget what earlier runs found out")
    return made


def _today() -> int:
    return datetime.date.today().toordinal()


def _wanted(options) -> list[Mutant]:
    mutants = [mutant for mutant in listing.scored() if options.only in mutant.id]
    if options.sample is None:
        return mutants
    ordered = sorted(mutants, key=lambda m: listing.digest(f"{options.sample}:{m.id}"))
    return ordered[:SAMPLED]


def _score(mutants: list[Mutant], options, console: Console) -> report.Result:
    tree, cache = Tree(), Cache()
    if options.fresh:
        cache.forget()
    if options.sample is not None:
        console.print(f"mutants: sample {options.sample} (--sample {options.sample})")
    ends = time.monotonic() + (SAMPLE_SECONDS if options.sample is not None else float("inf"))
    try:
        with Progress(console) as progress:
            scorer = Scorer(tree, cache, options.jobs, lambda trials: _show(progress, trials))
            trials = scorer.score(mutants, until=lambda: time.monotonic() > ends)
    finally:
        tree.remove()
    return report.Result(trials, read_ledger())


def _show(progress: Progress, trials: list[Trial]) -> None:
    killed = sum(trial.kill is not None for trial in trials)
    survive = sum(not trial.kill and not trial.stages for trial in trials)
    text = f"mutants: {killed + survive} of {len(trials)} scored, {killed} killed"
    progress.show(f"{text}, {survive} survive", killed + survive, len(trials))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
