"""`python -m qualification.mutants`: draws faulty versions of our code; does a test notice each?"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from qualification.report import RESULTS, ROOT, say, write_results

from . import cuda, known, python, triton
from .judge import KILLED, STILLBORN, SURVIVED, BrokenBaseline, Judge, Verdict
from .site import Mutant, Site, mutant_of, read_equivalents

CUDA = "kernels/exllama/ext"
ONLY_NVCC = f"{CUDA}/cuda"  # no CPU runs them
EXHIBITS = "gptq_fuzz/museum"  # faulty on purpose
SUFFIXES = (".cu", ".cuh", ".h", ".cpp")
ACCEPTED = "equivalent"


def main(words: list[str] | None = None, judge: Judge | None = None) -> int:
    """Exit status: 0, enough were killed; 1, too few; 2, nothing could be judged."""
    options = _parser().parse_args(words)
    started, seed = time.monotonic(), options.seed
    sample = draw(every_site(options.only), options.sample, seed)
    say(f"mutants: seed {seed}, {len(sample)} drawn")
    judge = judge or Judge()
    try:
        judge.prepare()
        verdicts = _judge_all(judge, sample, options.jobs, started + options.budget)
    except BrokenBaseline as problem:
        say(str(problem))
        return 2
    finally:
        judge.close()
    score = report(seed, sample, verdicts, options.results)
    return 2 if score is None else int(score < options.least)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m qualification.mutants", description=__doc__)
    add = parser.add_argument
    add("--sample", type=int, default=40, metavar="N", help="how many are drawn (%(default)s)")
    add("--seed", type=int, default=secrets.randbelow(10**6), help="of the draw (a random one)")
    add("--only", default="", metavar="TEXT", help="those whose `path:line kind/operator` has TEXT")
    add("--budget", type=float, default=float("inf"), metavar="SECONDS",
        help="begin none after so long")  # fmt: skip
    add("--jobs", type=int, default=os.cpu_count(), metavar="N", help="side by side (%(default)s)")
    add("--least", type=float, default=0.8, metavar="SCORE",
        help="share of the killed that is enough (%(default)s)")  # fmt: skip
    add("--results", type=Path, default=RESULTS, metavar="FOLDER", help="of the JSON")
    return parser


def every_site(only: str = "") -> list[Site]:
    """Every place in kernels/ and gptq_fuzz/ whose name holds `only`."""
    found = list(known.sites())
    for path in sorted([*ROOT.glob("kernels/**/*"), *ROOT.glob("gptq_fuzz/**/*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith((ONLY_NVCC, EXHIBITS)):
            continue
        if path.suffix == ".py":
            text = path.read_text(encoding="utf-8")
            found += [*python.sites(name, text), *triton.sites(name, text)]
        elif path.suffix in SUFFIXES:
            found += cuda.sites(name, path.read_text(encoding="utf-8"))
    return [site for site in found if only in str(site)]


def draw(sites: list[Site], count: int, seed: int) -> list[Mutant]:
    """As many of each area, in turn, as long as it has some; never one text twice."""
    found: dict[str, Mutant] = {}
    for site in _in_turn(sites, random.Random(seed)):
        if len(found) == count:
            break
        mutant = mutant_of(site)
        if mutant is not None:
            found.setdefault(f"{site.path} {mutant.source}", mutant)
    return list(found.values())


def _in_turn(sites: list[Site], generator: random.Random) -> Iterator[Site]:
    areas: dict[str, list[Site]] = {}
    for site in sites:
        area = site.path.partition("/")[0] if site.family == "python" else site.family
        areas.setdefault(area, []).append(site)
    for area in areas.values():
        generator.shuffle(area)
    while areas:
        for name in list(areas):
            yield areas[name].pop()
            if not areas[name]:
                del areas[name]


def _judge_all(judge: Judge, sample: list[Mutant], jobs: int, ends: float) -> dict[Mutant, Verdict]:
    """Those that were begun before `ends`; what a listed equivalent survives is accepted."""
    equivalents, verdicts = read_equivalents(), {}

    def work(mutant: Mutant) -> None:
        if time.monotonic() > ends:
            return
        verdict = judge.judge(mutant)
        by = f", by {verdict.by}" if verdict.by else ""
        if (mutant.site.path, mutant.diff) in equivalents:
            by += ", though equivalents.txt has it" * (verdict.outcome == KILLED)
            if verdict.outcome == SURVIVED:
                verdict = Verdict(ACCEPTED, seconds=verdict.seconds)
        verdicts[mutant] = verdict
        say(f"{verdict.outcome}: {mutant.site}{by} ({verdict.seconds:.0f} s)")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, sample))
    return verdicts


def report(
    seed: int, sample: list[Mutant], verdicts: dict[Mutant, Verdict], results: Path
) -> float | None:
    """Print survivors and the score, write mutants.json; the score, None where none was judged."""
    counts = Counter(verdict.outcome for verdict in verdicts.values())
    judged = counts[KILLED] + counts[SURVIVED]
    score = counts[KILLED] / judged if judged else None
    for mutant, verdict in verdicts.items():
        if verdict.outcome == SURVIVED:
            say("\n".join((f"\nsurvived: {mutant.site}", *mutant.diff)))
    say(
        f"\nmutants: seed {seed}, {len(sample)} drawn, {counts[KILLED]} killed, "
        f"{counts[SURVIVED]} survived, {counts[ACCEPTED]} accepted as equivalent, "
        f"{counts[STILLBORN]} not compiled, {len(sample) - len(verdicts)} not judged, "
        f"score {'none' if score is None else f'{score:.1%}'} of {judged} judged"
    )
    entries = [
        {"site": str(m.site), "diff": m.diff, "outcome": v.outcome, "by": v.by,
         "seconds": round(v.seconds, 1)}
        for m, v in verdicts.items()
    ]  # fmt: skip
    found = {"seed": seed, "drawn": len(sample), "score": score, "counts": counts}
    write_results("mutants", found | {"mutants": entries}, results)
    return score


if __name__ == "__main__":
    sys.exit(main())
