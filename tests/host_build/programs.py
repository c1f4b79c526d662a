"""Compiles and runs the programs of this folder: kernels as a CPU runs them."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from kernels.exllama import toolchain

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parents[1] / "kernels" / "exllama" / "ext"
COMMON = ["-std=c++17", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
COMMON += ["-ffp-contract=off", "-pthread", "-DEXLLAMA_HOST", f"-I{KERNELS}", f"-I{HERE}/on_cpu"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SANITIZERS += ["-fno-omit-frame-pointer"]
NO_ROOM = 3  # exit status of a program that may not reserve the memory it wants
UNITS = {"kernels": KERNELS / "host_build.cpp", "plan": KERNELS / "plan.cpp"}


def compiler() -> list[str] | None:
    """The command of a C++ compiler, or None."""
    with contextlib.suppress(toolchain.CannotBuild):
        return list(toolchain._cxx())


needs_compiler = pytest.mark.skipif(compiler() is None, reason="no_compiler")


def build(name: str, folder: Path, flags: list[str]) -> Path:
    """The program of source `name` in this folder; what is in `folder` already is kept."""
    program = folder / Path(name).stem
    if not program.exists():
        objects = [_object(unit, source, folder, flags) for unit, source in UNITS.items()]
        objects.append(_object(program.name + "-main", HERE / name, folder, flags))
        _run([*compiler(), *flags, "-pthread", *map(str, objects), "-o", str(program)])
    return program


def build_text(text: str, folder: Path) -> Path:
    """The program of this text, which includes sources of the kernels by name."""
    source, program = folder / "main.cpp", folder / "main"
    source.write_text(text)
    flags = ["-std=c++17", "-O1", "-w", "-pthread", "-DEXLLAMA_HOST", f"-I{KERNELS}"]
    _run([*compiler(), *flags, str(source), "-o", str(program)])
    return program


def run(program: Path, *words, threads: int = 2, **environment) -> subprocess.CompletedProcess:
    """The program, run to its end with few CPU threads for blocks."""
    environment = os.environ | {"EXLLAMA_HOST_THREADS": str(threads)} | environment
    command = [str(program), *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def answer(program: Path, *words, threads: int = 2) -> list[str]:
    """The words that the program prints; it must end well."""
    ended = run(program, *words, threads=threads)
    if ended.returncode == NO_ROOM:
        pytest.skip("no_memory: none may be reserved")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def names_of_checks(name: str) -> list[str]:
    """The checks that a source file registers, in order."""
    lines = (HERE / name).read_text().splitlines()
    return [line[len("CHECK_THAT(") :].partition(")")[0] for line in lines if "CHECK_THAT(" in line]


def _object(unit: str, source: Path, folder: Path, flags: list[str]) -> Path:
    path = folder / f"{unit}.o"
    if not path.exists():
        _run([*compiler(), *COMMON, *flags, "-x", "c++", "-c", str(source), "-o", str(path)])
    return path


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, f"{shlex.join(command)}\n{ended.stderr[-4000:]}"
