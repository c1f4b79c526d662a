"""Which of all mutants are scored: list.txt, written before anything is."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from .known import known_mutants
from .rules import OPERATORS
from .sites import Mutant, all_sites

LIST = Path(__file__).with_name("list.txt")
# Of each operator in each area, at most so many are scored: those with the smallest hash of the id.
QUOTA = {"triton": 14, "autotuner": 12, "pack": 12, "door": 10, "exllama": 5, "cuda": 14,
         "host": 3, "suite": 7}  # fmt: skip
HEAD = """\
# Mutants of this project's own code: which are scored. Written by `python -m tests.mutants --list`,
# scored by `python -m tests.mutants`. `file:function:operator-variant:number | old -> new`.
#
# The rules of tests/mutants/rules make {made} mutants of kernels/ and tests/suite/. Of each
# operator in each area those with the smallest hash of their id are scored: {chosen} in all, here
# as scored / made. {known} more are known bugs, brought back by hand (known.txt). What no compiler
# takes is not counted. kernels/exllama_ext/cuda is for nvcc alone and has none.
#
"""


def chosen(made: list[Mutant]) -> list[Mutant]:
    """Those within the quota, in the order they came in."""
    taken, kept = Counter(), set()
    for mutant in sorted(made, key=lambda mutant: digest(mutant.id)):
        cell = mutant.operator, mutant.area
        if taken[cell] < QUOTA[mutant.area]:
            taken[cell] += 1
            kept.add(mutant.id)
    return [mutant for mutant in made if mutant.id in kept]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def scored() -> list[Mutant]:
    """All mutants that are scored: what the rules make, within the quota, and the known bugs."""
    return [*chosen(all_sites()), *known_mutants()]


def render(made: list[Mutant], known: list[Mutant]) -> str:
    """The text of list.txt."""
    picked = chosen(made)
    lines = HEAD.format(made=len(made), chosen=len(picked), known=len(known)).splitlines()
    counts = Counter((mutant.operator, mutant.area) for mutant in made)
    taken = Counter((mutant.operator, mutant.area) for mutant in picked)
    lines.append(f"# {'':12}" + "".join(f"{area:>12}" for area in QUOTA))
    for operator in OPERATORS:
        cells = [f"{taken[operator, area]} / {counts[operator, area]}" for area in QUOTA]
        lines.append(f"# {operator:12}" + "".join(f"{cell:>12}" for cell in cells))
    lines += ["", *(f"{mutant.id} | {mutant.change}" for mutant in (*picked, *known))]
    return "\n".join(lines) + "\n"


def current() -> str:
    """What list.txt must hold."""
    return render(all_sites(), known_mutants())
