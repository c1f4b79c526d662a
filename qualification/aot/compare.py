"""The worst case of each kernel on an architecture, and what got worse since another revision."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from qualification.report import ROOT

from .architectures import ARCHITECTURES
from .resources import Built, Resources

MAIN = "origin/main"


class CannotCompare(Exception):
    """The other revision is not there, or this code cannot build its kernels."""


@dataclass(frozen=True)
class Binary:
    """One binary: what it needs, why it cannot run; `needs` is {} where there is none."""

    arch: str
    kernel: str
    name: str
    needs: dict[str, int]
    refused: str = ""

    @classmethod
    def of(cls, arch: str, kernel: str, name: str, built: Built) -> Binary:
        if built.resources is None:
            return cls(arch, kernel, name, {}, built.failure)
        lacks = ", ".join(ARCHITECTURES[arch].lacks(built.resources))
        return cls(arch, kernel, name, built.resources._asdict(), lacks)

    @property
    def resources(self) -> Resources:
        return Resources(**({"threads": 0, "registers": 0, "shared": 0} | self.needs))


@dataclass(frozen=True)
class Worst:
    """The most that any binary of a kernel needs on one architecture."""

    binaries: int
    registers: int
    shared: int
    spilled: tuple[int, int, int]
    spilling: int  # binaries
    refused: int  # binaries

    @classmethod
    def of(cls, members: list[Binary]) -> Worst:
        needs = [member.resources for member in members]
        return cls(
            len(members),
            max(need.registers for need in needs),
            max(need.shared for need in needs),
            tuple(map(max, zip(*(need.spilled for need in needs), strict=True))),
            sum(any(need.spilled) for need in needs),
            sum(bool(member.refused) for member in members),
        )

    def __str__(self) -> str:
        stack, vectors, scalars = self.spilled
        text = f"{self.binaries} binaries, {self.registers} registers, {self.shared} B shared, "
        text += f"{stack} B stack ({self.spilling} spill)"
        text += f", {vectors} vectors and {scalars} scalars spilled" * bool(vectors or scalars)
        return text + f", {self.refused} CANNOT RUN" * bool(self.refused)


def worst_cases(binaries: list[Binary]) -> dict[tuple[str, str], Worst]:
    """By architecture and kernel."""
    members = defaultdict(list)
    for binary in binaries:
        members[binary.arch, binary.kernel].append(binary)
    return {key: Worst.of(those) for key, those in members.items()}


def worse(old: list[Binary], new: list[Binary]) -> tuple[list[str], list[str]]:
    """What got worse: worst cases of kernels; and binaries that spill anew or no longer run."""
    before, after = worst_cases(old), worst_cases(new)
    changed = [
        f"{arch} {kernel}: {what} {there} -> {here}"
        for (arch, kernel), now in after.items()
        if (arch, kernel) in before
        for what in ("registers", "shared", "spilled", "refused")
        if (here := getattr(now, what)) > (there := getattr(before[arch, kernel], what))
    ]
    known = {(binary.arch, binary.kernel, binary.name): binary for binary in old}
    broken = []
    for binary in new:
        was = known.get((binary.arch, binary.kernel, binary.name))
        row = before.get((binary.arch, binary.kernel))
        if binary.refused and not (was and was.refused):
            broken.append(f"{binary.arch} {binary.name}: cannot run: {binary.refused}")
        # A binary that was not there before may spill as much as its kernel's worst did.
        allowed = was.resources.spilled if was else row.spilled if row else (0, 0, 0)
        spilled = binary.resources.spilled
        if any(now > then for now, then in zip(spilled, allowed, strict=True)):
            broken.append(f"{binary.arch} {binary.name}: spills {allowed} -> {spilled}")
    return changed, broken


def revision(named: str) -> str:
    """The commit to compare with; for "" the merge base with main, or main's last but one."""
    if named:
        return _git("rev-parse", "--verify", f"{named}^{{commit}}")
    main = MAIN if _git("branch", "--remotes", "--list", MAIN) else "main"
    base, head = _git("merge-base", "HEAD", main), _git("rev-parse", "HEAD")
    return base if base != head else _git("rev-parse", "--verify", "HEAD~1")


def built_of(commit: str, words: list[str]) -> list[Binary]:
    """The binaries of another commit, by this code: `words` are the options. Needs git and tar."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        tree.mkdir()
        packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True)
        if packed.returncode:
            raise CannotCompare(packed.stderr.decode())
        subprocess.run(["tar", "-x"], cwd=tree, input=packed.stdout, check=True)
        shutil.rmtree(tree / "qualification", ignore_errors=True)
        ours = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "qualification", tree / "qualification", ignore=ours)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        ended = subprocess.run(
            [sys.executable, "-m", "qualification.aot", *words, "--results", folder],
            cwd=tree, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        file = Path(folder, "aot.json")
        if not file.exists():
            last = ended.stderr.strip().splitlines()[-1:]
            raise CannotCompare(f"this code cannot build the kernels of {commit}: {last}")
        return read(file)


def written(binaries: list[Binary]) -> list[dict]:
    return [asdict(binary) for binary in binaries]


def read(file: Path) -> list[Binary]:
    return [Binary(**entry) for entry in json.loads(file.read_text())["binaries"]]


def _git(*words: str) -> str:
    ended = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        raise CannotCompare(f"git {' '.join(words)}: {ended.stderr.strip()}")
    return ended.stdout.strip()
