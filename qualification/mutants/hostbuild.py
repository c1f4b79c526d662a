"""The CUDA sources as a CPU runs them: what is the same for all mutants is compiled once.

Objects, the extension and the problems of the corpus lie in `.gptq-fuzz/host`, named by all that
they depend on; a mutant's copy of the tree gets links to them and compiles what it changes.

The first functions run in a scratch copy, so they import what they need when they are called.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .outcome import Outcome
from .sites import ROOT

SHARED = ROOT / ".gptq-fuzz" / "host"
EXTENSIONS = "TORCH_EXTENSIONS_DIR"
NOT_BUILT = "NOT_BUILT"  # a compiler refuses it: this is no mutant
FLAGS = ["-O0", "-g0", "-w"]  # a mutant runs once, so compiling is what counts
RUNNER = "runner.cu"
SEEDS = 60  # problems that the runner draws itself, beside those of the corpus
SOURCES = Path("kernels/exllama/ext")
TESTS = Path("tests/host_build")
UNITS = {
    "kernels": SOURCES / "host_build.cpp",
    "plan": SOURCES / "plan.cpp",
    "runner-main": TESTS / RUNNER,
}
FOLDERS = (SOURCES, TESTS, TESTS / "on_cpu")  # that the compiler looks into
PROBLEMS_READ = ("tests/suite", "gptq_fuzz/corpus", "reference", "tests/host_build/problems.py")
HEADERS = re.compile(r"^#include <.*>", re.MULTILINE)
COMPILER = SHARED / "compiler"
COMPILER_SCRIPT = """#!/bin/sh
case "$*" in
  *binding.cpp*) exec {compiler} -include {header} "$@" {flags} ;;
  *) exec {compiler} "$@" -O1 -w ;;
esac
"""
KEPT = (".o", ".so", ".sha256")  # of a build folder; the rest are locks and what is being made
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def make_compiler() -> None:
    """A command that compiles the extension in a hurry, with torch's headers read already.

    They take longer to read than all of our own sources take to compile, and a mutant runs once.
    """
    from kernels.exllama.toolchain import host_recipe

    command = host_recipe().compile[".cpp"]
    text = "".join(f"{line}\n" for line in HEADERS.findall((SOURCES / "binding.cpp").read_text()))
    header = SHARED / f"torch-{hashlib.sha256(f'{command} {text}'.encode()).hexdigest()[:24]}.h"
    if not Path(f"{header}.gch").exists():
        header.write_text(text, encoding="utf-8")
        part = f"{header}.{os.getpid()}"
        given = [*command, *FLAGS, "-x", "c++-header", str(header), "-o", part]
        subprocess.run(given, check=True, capture_output=True)
        os.replace(part, f"{header}.gch")
    flags = shlex.join(FLAGS)
    script = SHARED / f"compiler.{os.getpid()}"
    script.write_text(COMPILER_SCRIPT.format(compiler=command[0], header=header, flags=flags))
    script.chmod(0o755)
    os.replace(script, COMPILER)


def use_compiler() -> None:
    """The extension is built by it in this process and those that it starts."""
    os.environ["CXX"] = str(COMPILER)


def refused(name: str, problem: Exception) -> Outcome:
    """Of a compiler that refused the sources; raises any other `problem` again."""
    if type(problem).__name__ != "BuildFailed":  # by name: the class is of a scratch copy
        raise problem
    return Outcome(name, NOT_BUILT, "compiler", "", str(problem)[:200])


def prepare(tell) -> Outcome:
    """Make all of it from the code as it is, where it is not there yet."""
    from gptq_fuzz.adapters.exllama import EXLLAMA
    from gptq_fuzz.case.corpus import our_corpus
    from kernels.exllama import build as exllama_build

    from tests.host_build import problems, programs  # isort: skip - after the suite

    (SHARED / "extensions").mkdir(parents=True, exist_ok=True)
    tell(at="the runner")
    folder = linked(Path("home/host"))
    programs.build(RUNNER, folder, FLAGS)
    for unit, source in UNITS.items():
        _keep(folder / f"{unit}.o", _object_of(unit, source))
    if not problems_file().exists():
        tell(at="the problems")
        problems.write_problems(Path("home/problems"), our_corpus(), EXLLAMA)
        _keep(Path("home/problems"), problems_file())
    tell(at="the extension")
    make_compiler()
    use_compiler()
    os.environ[EXTENSIONS] = str(SHARED / "extensions")
    exllama_build.build(exllama_build.host_recipe(), exllama_build.SOURCES)
    return Outcome("prepare")


def check_by_runner(name: str, tell) -> Outcome:
    """Build the runner on this tree; the corpus, then what it draws itself."""
    from tests.host_build import programs

    folder = linked(Path("home/host"))
    tell(at="compiling")
    try:
        program = programs.build(RUNNER, folder, FLAGS)
    except AssertionError as problem:
        return Outcome(name, NOT_BUILT, "compiler", "", str(problem)[:200])
    asked = [("check", problems_file()), *(("fuzz", 0, seed) for seed in range(1, SEEDS))]
    for words in asked:
        tell(at=" ".join(map(str, words[::2])))
        ended = programs.run(program, *words)
        if ended.returncode:
            return _failure(name, words, ended)
    return Outcome(name)


def _failure(name: str, words, ended: subprocess.CompletedProcess) -> Outcome:
    said = re.search(r"^(WRONG|RAISED) (\S+): (.*)", ended.stdout, re.MULTILINE)
    if said:
        return Outcome(name, said[1], "runner", said[2], said[3][:200])
    verdict = "CRASHED" if ended.returncode < 0 else "RAISED"
    return Outcome(name, verdict, "runner", str(words[0]), (ended.stdout + ended.stderr)[-200:])


def linked(folder: Path) -> Path:
    """`folder` with links to the objects that do not depend on what this tree changes."""
    folder.mkdir(parents=True)
    for unit, source in UNITS.items():
        there = _object_of(unit, source)
        if there.exists():
            (folder / f"{unit}.o").symlink_to(there)
    return folder


def link_extensions(home: Path, made: Path) -> None:
    """A build folder of one's own, in which files of the shared ones can be found."""
    own = home / "extensions"
    for shared in (SHARED / "extensions", made):
        for path in shared.glob("*/*/*"):
            if path.suffix in KEPT:
                place = own / path.relative_to(shared)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(path)
    os.environ[EXTENSIONS] = str(own)


def keep_extensions(home: Path, made: Path) -> None:
    """Move what one stage has compiled of a mutant to where its next stage finds it."""
    own = home / "extensions"
    for path in own.glob("*/*/*"):
        place = made / path.relative_to(own)
        if path.suffix in KEPT and not path.is_symlink() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)


def problems_file() -> Path:
    paths = [path for name in PROBLEMS_READ for path in _files(Path(name))]
    return SHARED / f"problems-{digest(paths)}"


def _object_of(unit: str, source: Path) -> Path:
    return SHARED / f"{unit}-{digest(closure(source))}.o"


def closure(source: Path) -> list[Path]:
    """The file and every file of ours that it includes, directly or not."""
    found = [source]
    for path in found:  # grows while it is walked
        for name in INCLUDE.findall(path.read_text(encoding="utf-8")):
            places = (folder / name for folder in (path.parent, *FOLDERS))
            included = next((place for place in places if place.is_file()), None)
            included = included and Path(os.path.normpath(included))
            if included and included not in found:
                found.append(included)
    return found


def digest(paths: Iterable[Path]) -> str:
    read = hashlib.sha256(" ".join(FLAGS).encode())
    for path in paths:
        read.update(path.as_posix().encode() + path.read_bytes())
    return read.hexdigest()[:24]


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.suffix in (".py", ".txt")) or [path]


def _keep(path: Path, place: Path) -> None:
    """Move a file to its shared place, whole or not at all."""
    if not place.exists():
        part = place.with_name(f"{place.name}.{os.getpid()}")
        part.write_bytes(path.read_bytes())
        part.replace(place)
