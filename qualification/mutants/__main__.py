"""`python -m qualification.mutants`: makes faulty versions of our code and tells what notices each."""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import signal
import sys
import time
from pathlib import Path

# Before torch and triton start: all others are judged on the CPU, in Triton's interpreter.
os.environ |= {} if "--gpu" in sys.argv else {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}

from rich.console import Console

from . import gpu, listing, matrix_record, matrix_report, record, report
from .cache import Cache
from .hostbuild import prepare
from .ledger import GPU, SAME, read_ledger
from .matrix import Matrix
from .plans import killer_first
from .processes import Processes
from .progress import Progress
from .proof import prove, unproven
from .proof import write as write_proofs
from .score import LONGEST, BrokenBaseline, Scorer, Trial
from .scratch import Tree
from .sites import CUDA, ROOT, Mutant
from .stages import Stage

# What children need is imported once, before they are forked: a second or two for each of them.
EARLY = (
    "hypothesis.stateful", "numpy", "pytest", "pytest_benchmark.plugin", "torch", "torch._dynamo",
    "torch.utils.cpp_extension", "triton.experimental.gluon.language", "triton.language",
    "triton.runtime.interpreter", "triton.testing", "xdist.plugin",
)  # fmt: skip
SAMPLED = 40  # mutants that `--sample` takes
SAMPLE_BUDGET = 165.0  # seconds of the whole sample
SAMPLE_LIMIT = 40.0  # seconds of processor time for one stage of it
LAST_BEGIN = 40.0  # seconds before the end in which nothing begins any more
STARTED = time.monotonic()
RESULTS = ROOT / "results"
FALSE_ALARMS = "qualification.false_alarms.run"  # its main(arguments) gives the exit status
COMPILED = ("cuda", "host", "exllama")  # areas whose mutants need a C++ compiler


def main(arguments: list[str]) -> int:
    """The exit status: 0 all killed or explained, 1 not, 2 a usage error."""
    if arguments[:1] == ["--false-alarms"]:  # a campaign of its own, with options of its own
        return importlib.import_module(FALSE_ALARMS).main(arguments[1:])
    options = parser().parse_args(arguments)
    if options.list:
        listing.LIST.write_text(listing.current(), encoding="utf-8")
        return 0
    for name in EARLY:
        importlib.import_module(name)
    mutants = _wanted(options)
    if not mutants:
        parser().error(
            f"no mutant is called {options.only!r}; qualification/mutants/list.txt has them all"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that children and copies go too
    console, tree, cache = Console(), Tree(), Cache()
    if options.fresh:
        cache.forget()
    modes = {_matrix: options.matrix, _equivalents: options.equivalents, _on_gpu: options.gpu}
    mode = next((mode for mode, wanted in modes.items() if wanted), _kills)
    try:
        if mode is not _on_gpu:
            _prepare(mutants, tree)
        return mode(mutants, options, console, tree, cache)
    except BrokenBaseline as problem:
        console.print(str(problem), soft_wrap=True, highlight=False)
        return 1
    finally:
        tree.remove()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("python -m qualification.mutants", description=__doc__)
    modes = made.add_mutually_exclusive_group()
    modes.add_argument(
        "--sample", type=int, metavar="NUMBER", default=datetime.date.today().toordinal(),
        help=f"the default: {SAMPLED} mutants within 3 minutes; others each day and NUMBER",
    )  # fmt: skip
    modes.add_argument("--all", action="store_true", help="every mutant, up to its first kill")
    modes.add_argument(
        "--matrix",
        action="store_true",
        help="--all, then every fill and check against each to the end, and the museum too",
    )
    modes.add_argument(
        "--equivalents", action="store_true", help="prove what the ledger calls the same"
    )
    modes.add_argument(
        "--gpu", action="store_true",
        help="on a machine with a GPU, or two: kill what the ledger says that only one can tell",
    )  # fmt: skip
    modes.add_argument(
        "--list", action="store_true", help="write qualification/mutants/list.txt anew"
    )
    modes.add_argument(
        "--false-alarms", action="store_true",
        help="correct kernels that round differently; options after it are its own",
    )  # fmt: skip
    made.add_argument(
        "--budget", type=float, metavar="SECONDS",
        help=f"of a sample ({SAMPLE_BUDGET:.0f}), --all or --equivalents (none); 0: what is known",
    )  # fmt: skip
    made.add_argument(
        "--record", action="store_true", help="keep what comes out: benchmarks/, README.md"
    )
    made.add_argument("--only", default="", metavar="TEXT", help="mutants whose id holds TEXT")
    made.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    made.add_argument("--results", type=Path, default=RESULTS, help="folder of tables and pictures")
    made.add_argument("--fresh", action="store_true", help="forget what earlier runs found out")
    return made


def _prepare(mutants: list[Mutant], tree: Tree) -> None:
    """Compile what all mutants of the CUDA sources share."""
    if not any(mutant.path.startswith(CUDA) or mutant.area in COMPILED for mutant in mutants):
        return
    processes = Processes(tree, 1)
    processes.start(None, Stage("prepare", (), prepare), {}, LONGEST)
    for _, outcome in processes.finished():
        if outcome.killed:
            raise BrokenBaseline(f"the host build cannot be prepared: {outcome.message}")


def _wanted(options) -> list[Mutant]:
    mutants = [mutant for mutant in listing.scored() if options.only in mutant.id]
    ordered = sorted(mutants, key=lambda m: listing.digest(f"{options.sample}:{m.id}"))
    return ordered[:SAMPLED] if _samples(options) else ordered


def _samples(options) -> bool:
    return not (options.all or options.matrix or options.equivalents or options.gpu)


def _kills(mutants: list[Mutant], options, console: Console, tree: Tree, cache: Cache) -> int:
    result = _scored(mutants, options, console, tree, cache)
    return report.exit_status(result)


def _scored(mutants, options, console: Console, tree: Tree, cache: Cache) -> report.Result:
    """Put all of them to their stages, up to the first that kills, and tell the score."""
    sampled = _samples(options)
    if sampled:
        console.print(f"mutants: sample {options.sample}, again by --sample {options.sample}")
    killers = {} if options.fresh else record.killers()
    budget = options.budget if options.budget is not None else SAMPLE_BUDGET if sampled else None
    ends = float("inf") if budget is None else STARTED + budget
    with Progress(console) as progress:
        scorer = Scorer(
            tree, cache, options.jobs, lambda trials: _show(progress, trials),
            plan=killer_first(killers),
            limit=SAMPLE_LIMIT if sampled else None,
            ends=ends,
        )  # fmt: skip
        trials = scorer.score(mutants, until=lambda: time.monotonic() > ends - LAST_BEGIN)
    if len(trials) < len(mutants):
        console.print(f"mutants: {len(mutants) - len(trials)} not judged, the time was up")
    ledger = read_ledger()
    result = report.Result(trials, ledger, gpu.killed_there(mutants, ledger))
    report.write(console, result)
    report.write_json(options.results / "mutants.json", result)
    if options.record:
        record.write(record.states(listing.scored(), result, killers))
    return result


def _matrix(mutants: list[Mutant], options, console: Console, tree: Tree, cache: Cache) -> int:
    result = _scored(mutants, options, console, tree, cache)
    told = record.states(mutants, result, {})
    scored = {one["id"]: one.get("by", one["state"]) for one in told}
    with Progress(console) as progress:

        def show(entries) -> None:
            done = sum(entry.finished for entry in entries)
            progress.show(f"matrix: {done} of {len(entries)} rows", done, len(entries))

        scorer = Scorer(tree, cache, options.jobs)
        rows = Matrix(scorer, show).rows(mutants, scored, museum=not options.only)
    matrix_report.write(console, rows, options.results)
    if options.record:
        matrix_record.write(rows)
    return report.exit_status(result)


def _equivalents(mutants: list[Mutant], options, console: Console, tree: Tree, cache: Cache) -> int:
    same = {name for name, entry in read_ledger().items() if entry.kind == SAME}
    ends = float("inf") if options.budget is None else STARTED + options.budget
    with Progress(console) as progress:
        proofs = prove(
            [mutant for mutant in mutants if mutant.id in same],
            Scorer(tree, cache, options.jobs),
            watch=lambda d, of: progress.show(f"equivalents: {d} of {of} parts", d, of),
            until=lambda: time.monotonic() > ends,
        )
    for proof in proofs:
        console.print(proof.text(), soft_wrap=True, highlight=False, markup=False)
    if options.record:
        write_proofs(proofs)
    missing = unproven(proofs)
    console.print(f"equivalents: not proven: {', '.join(missing) or 'none'}", soft_wrap=True)
    return 1 if missing else 0


def _on_gpu(mutants: list[Mutant], options, console: Console, tree: Tree, cache: Cache) -> int:
    import torch

    if not torch.cuda.is_available():
        parser().error("--gpu needs a CUDA device, here is none")
    ledger = read_ledger()
    wanted = [m for m in mutants if m.id in ledger and ledger[m.id].kind == GPU]
    with Progress(console) as progress:
        told = gpu.show(
            wanted, ledger, tree, options.jobs,
            watch=lambda d, of: progress.show(f"gpu: {d} of {of} runs of pytest", d, of),
        )  # fmt: skip
    for one in told:
        text = f"{one.verdict or 'survives'}: {one.id} | {one.tests}: {one.where or 'passed'}"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    if options.record:
        gpu.write(told)
    killed = sum(one.killed for one in told)
    console.print(f"gpu: {killed} of {len(told)} killed", highlight=False)
    return 0 if told and killed == len(told) else 1


def _show(progress: Progress, trials: list[Trial]) -> None:
    killed = sum(trial.kill is not None for trial in trials)
    survive = sum(not trial.kill and not trial.stages for trial in trials)
    text = f"mutants: {killed + survive} of {len(trials)} scored, {killed} killed"
    progress.show(f"{text}, {survive} survive", killed + survive, len(trials))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
