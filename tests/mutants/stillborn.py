"""Which mutants of the CUDA sources no compiler takes: others are scored in their place.

stillborn.txt holds their ids, written by `--list` before anything is scored.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from .cache import Cache
from .hostbuild import NOT_BUILT, with_header
from .outcome import Outcome
from .sites import CUDA, ROOT, Mutant

FILE = Path(__file__).with_name("stillborn.txt")
HEAD = "# Mutants that do not compile, found by `python -m tests.mutants --list`; stillborn.py\n"
# By the stem of the mutated file: the units that show whether it compiles.
UNITS = {"binding": ("binding",), "registry": ("binding",), "plan": ("plan", "host_build"),
         "rows": ("binding",)}  # fmt: skip


def read() -> set[str]:
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    return {line for line in text.splitlines() if line and not line.startswith("#")}


def write(ids: set[str]) -> None:
    FILE.write_text(HEAD + "".join(f"{name}\n" for name in sorted(ids)), encoding="utf-8")


def among(mutants: list[Mutant], cache: Cache) -> set[str]:
    """Ids of those that do not compile; Python's are not asked."""
    asked = [mutant for mutant in mutants if mutant.path.startswith(CUDA)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda mutant: _compiles(mutant, cache), asked)
        return {mutant.id for mutant, fine in zip(asked, results, strict=True) if not fine}


def _compiles(mutant: Mutant, cache: Cache) -> bool:
    key = hashlib.sha256(f"compiles {_tree()} {mutant.path} {mutant.source}".encode()).hexdigest()
    known = cache.get(key)
    if known is None:
        known = Outcome("compiles", "" if _ask(mutant) else NOT_BUILT)
        cache.put(key, known)
    return not known.killed


@cache
def _tree() -> str:
    read = hashlib.sha256()
    for path in sorted((ROOT / CUDA).rglob("*.*")):
        read.update(path.name.encode() + path.read_bytes())
    return read.hexdigest()


@cache
def _command(unit: str) -> list[str]:
    from kernels.exllama_toolchain import host_recipe

    compiler, *options = host_recipe().compile[".cpp"]
    command = shlex.split(with_header()) if unit == "binding" else [compiler]
    return [*command, *options, "-w", "-fsyntax-only"]


def _ask(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        sources = Path(scratch, "exllama_ext")
        shutil.copytree(ROOT / CUDA, sources)
        for path, text in mutant.changed.items():
            (sources / Path(path).relative_to(CUDA)).write_text(text, encoding="utf-8")
        return all(
            subprocess.run(
                [*_command(unit), str(sources / f"{unit}.cpp")], capture_output=True, check=False
            ).returncode == 0
            for unit in UNITS.get(Path(mutant.path).stem, ("host_build",))
        )  # fmt: skip
