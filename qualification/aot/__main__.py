"""`python -m qualification.aot`: compile every binary, print what each kernel needs at worst."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import triton

from qualification.report import RESULTS, say, write_results

from . import nvcc
from .architectures import ARCHITECTURES
from .build import build
from .compare import Binary, CannotCompare, built_of, revision, worse, worst_cases, written
from .variants import variants


def main(words: list[str] | None = None) -> int:
    """Exit status: 1 where something cannot run, or is worse than it was; 2 for no comparison."""
    options = _parsed(words)
    architectures = options.arch or list(ARCHITECTURES)
    compilers = [f"triton {triton.__version__}", nvcc.compiler() or "nvcc is not here"]
    say(", ".join(compilers))
    try:
        binaries = binaries_of(architectures, options.only)
    except nvcc.CannotCompile as problem:
        say(f"does not compile: {problem}")
        return 1
    if not binaries:
        say(f"no binary is called {options.only!r}")
        return 2
    for (arch, kernel), worst in worst_cases(binaries).items():
        say(f"{arch} {kernel}: {worst}")
    write_results("aot", {"compilers": compilers, "binaries": written(binaries)}, options.results)
    if options.against is not None:
        return _compared(binaries, architectures, options)
    refused = [binary for binary in binaries if binary.refused]
    for binary in refused:
        say(f"{binary.arch} {binary.name} cannot run: {binary.refused}")
    return int(bool(refused))


def binaries_of(architectures: list[str], only: str = "") -> list[Binary]:
    """What Triton compiles; of all also what nvcc does, where it is. Raises nvcc.CannotCompile."""
    built = build(variants(architectures, only))
    found = [Binary.of(v.arch, v.kernel, str(v), binary) for v, binary in built.items()]
    return found if only or nvcc.compiler() is None else found + nvcc.build(architectures)


def _compared(binaries: list[Binary], architectures: list[str], options) -> int:
    words = [word for arch in architectures for word in ("--arch", arch)]
    try:
        commit = revision(options.against)
        changed, broken = worse(built_of(commit, [*words, "--only", options.only]), binaries)
    except CannotCompare as problem:
        say(f"not compared: {problem}")
        return 2
    for line in (*changed, *broken):
        say(f"worse: {line}")
    say(f"against {commit[:12]}: {len(changed)} worst cases grew, {len(broken)} binaries spill "
        "anew or no longer run")  # fmt: skip
    return int(bool(broken))


def _parsed(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m qualification.aot", description=__doc__)
    add = parser.add_argument
    add("--arch", action="append", choices=ARCHITECTURES, help="this one only; repeatable")
    add("--only", default="", metavar="TEXT", help="binaries of Triton whose name holds TEXT")
    add("--against", nargs="?", const="", metavar="REV",
        help="build that revision too (the merge base with main) and compare")  # fmt: skip
    add("--results", type=Path, default=RESULTS, metavar="FOLDER", help="of the JSON")
    options = parser.parse_args(words)
    if triton.knobs.runtime.interpret:
        parser.error("TRITON_INTERPRET is set, and an interpreter compiles nothing: unset it")
    return options


if __name__ == "__main__":
    sys.exit(main())
