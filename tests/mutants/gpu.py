"""`--gpu`: what only a GPU can tell is told there: the tests that a line of the ledger names fail.

Each runs in a pytest of its own, on the code as it is too, where one test at least must pass: not
as a stage of `processes`, whose children are forked and short of address space, which CUDA is not
made for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from .ledger import Entry
from .listing import digest
from .outcome import Outcome
from .processes import CRASHED, TIMED_OUT
from .score import BrokenBaseline
from .scratch import Tree
from .sites import ROOT, Mutant
from .stages import FAILED

STATE = ROOT / "benchmarks" / "gpu_mutants.json"
MOST_JOBS = 6  # some tests take 18 GB of the GPU
SECONDS = 300.0  # for one pytest, with what it compiles
SKIPPED = "SKIPPED"  # verdict of tests that this machine has no means for
NO_KILL = ("", SKIPPED)
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0")


@dataclass(frozen=True)
class Shown:
    """What a GPU told of a mutant: `verdict` "" where its tests passed, SKIPPED with the reason."""

    id: str
    source: str  # hash of the files that the mutant changes: another one is another mutant
    tests: str
    verdict: str
    where: str
    seconds: float
    machine: str

    @property
    def killed(self) -> bool:
        return self.verdict not in NO_KILL


def show(
    mutants: list[Mutant], ledger: dict[str, Entry], tree: Tree, jobs: int,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> list[Shown]:  # fmt: skip
    """Put each mutant to its tests; `watch(done, total)` is told of every step.

    Raises BrokenBaseline where tests fail on the code as it is.
    """
    tests_of = {mutant.id: ledger[mutant.id].tests for mutant in mutants}
    total, steps = len(set(tests_of.values())) + len(mutants), count(1)
    with ThreadPoolExecutor(min(jobs, MOST_JOBS)) as pool:

        def ask(questions: dict) -> dict:
            """What came out, by the name of each (changed files, tests)."""
            asked = {pool.submit(_run, tree, *q): name for name, q in questions.items()}
            for _ in as_completed(asked):
                watch(next(steps), total)
            return {name: future.result() for future, name in asked.items()}

        plain = ask({tests: ({}, tests) for tests in tests_of.values()})
        _refuse_broken(plain)
        able = [mutant for mutant in mutants if plain[tests_of[mutant.id]].verdict != SKIPPED]
        told = ask({mutant.id: (mutant.changed, tests_of[mutant.id]) for mutant in able})
    machine = _machine()
    outcomes = [(mutant, told.get(mutant.id, plain[tests_of[mutant.id]])) for mutant in mutants]
    return [_shown(mutant, outcome, machine) for mutant, outcome in outcomes]


def write(told: list[Shown], path: Path = STATE) -> None:
    """Keep it, a line for each mutant; what this machine could not ask stays as it was."""
    kept = {one.id: one for one in read(path)}
    kept |= {one.id: one for one in told if one.verdict != SKIPPED or one.id not in kept}
    lines = ",\n".join(json.dumps(asdict(kept[name])) for name in sorted(kept))
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read(path: Path = STATE) -> list[Shown]:
    return [Shown(**one) for one in json.loads(path.read_text())] if path.exists() else []


def killed_there(mutants: list[Mutant], ledger: dict[str, Entry]) -> dict[str, Shown]:
    """By id, those that are recorded as killed, by the tests that the ledger names now."""
    found = {one.id: one for one in read() if one.killed}
    return {
        mutant.id: found[mutant.id]
        for mutant in mutants
        if mutant.id in found
        and mutant.id in ledger
        and found[mutant.id].source == source_of(mutant)
        and found[mutant.id].tests == ledger[mutant.id].tests
    }


def source_of(mutant: Mutant) -> str:
    return digest(json.dumps(mutant.changed, sort_keys=True))[:16]


def _run(tree: Tree, changed: dict[str, str], tests: str) -> Outcome:
    folder = tree.with_files(changed)
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", *OPTIONS, f"--junitxml={report}", *tests.split()]
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(
                command, cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)}, check=False,
                stdout=said, stderr=subprocess.STDOUT, timeout=SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Outcome(tests, TIMED_OUT, seconds=SECONDS)
        said.seek(0)
        return _outcome(tests, done.returncode, report, said.read().decode(errors="replace"))


def _outcome(tests: str, status: int, report: Path, said: str) -> Outcome:
    """Of one pytest: by its exit status, and what it wrote down of each test."""
    if status < 0:
        return Outcome(tests, CRASHED, message=f"signal {-status}\n{said}")
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    seconds = sum(float(case.get("time", 0)) for case in cases)
    if status:
        bad = [case for case in cases if _child(case, "failure", "error") is not None]
        where = next((f"{case.get('classname')}::{case.get('name')}" for case in bad), tests)
        return Outcome(tests, FAILED, where=where, message=said, seconds=seconds)
    skipped = [found for case in cases if (found := _child(case, "skipped")) is not None]
    if len(skipped) == len(cases):
        return Outcome(tests, SKIPPED, where="; ".join({s.get("message", "") for s in skipped}))
    return Outcome(tests, seconds=seconds)


def _child(case: ElementTree.Element, *names: str) -> ElementTree.Element | None:
    return next((found for name in names if (found := case.find(name)) is not None), None)


def _refuse_broken(plain: dict[str, Outcome]) -> None:
    for tests, outcome in plain.items():
        if outcome.verdict not in NO_KILL:
            raise BrokenBaseline(f"{tests} fails without any mutant: {outcome.message}")


def _shown(mutant: Mutant, outcome: Outcome, machine: str) -> Shown:
    told = (mutant.id, source_of(mutant), outcome.stage, outcome.verdict, outcome.where)
    return Shown(*told, round(outcome.seconds, 1), machine)


def _machine() -> str:
    """`NVIDIA H200, NVIDIA H200`"""
    import torch

    names = map(torch.cuda.get_device_name, range(torch.cuda.device_count()))
    return ", ".join(names) or "no GPU"
