"""Environments outside of the checkout that hold the built wheel, and projects to run there."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 300  # seconds for one command
MINE = """\
import torch


def f(x, qweight, qzeros, scales, g_idx, bits):
    shifts = torch.arange(0, 32, bits, device=x.device)
    mask = 2**bits - 1
    codes = (qweight[:, None, :] >> shifts[None, :, None] & mask).flatten(0, 1)
    zeros = (qzeros[:, :, None] >> shifts & mask).flatten(1, 2) + 1{wrap}
    weight = (codes - zeros[g_idx]) * scales.float()[g_idx]
    return (x.float() @ weight).to(x.dtype)
"""
RIGHT = MINE.format(wrap=" & mask")
WRONG = MINE.format(wrap="")  # a stored zero-point of all ones does not wrap


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheel; what it needs besides lies in the tests' own one."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def install(self, *requirements: str) -> None:
        """What pip finds on the index, in place of what the tests run with. Raises NoIndex."""
        ran = _pip(self.python, *requirements)
        if ran.returncode:
            raise NoIndex(ran.stdout)

    def run(self, words, folder: Path, **variables: str) -> tuple[int, str]:
        """(exit status, all output) of a command, a list or a line for the shell."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        ran = subprocess.run(
            words, shell=isinstance(words, str), cwd=folder, text=True, check=False, timeout=LIMIT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=_clean() | {"PATH": path} | variables,
        )  # fmt: skip
        return ran.returncode, ran.stdout


class NoIndex(Exception):
    """pip could not install what a test wants; its output."""


def environment(folder: Path, wheel: Path) -> Environment:
    """A new one with the wheel, which sees the packages of the interpreter that runs the tests."""
    venv.create(folder, with_pip=False, symlinks=True)
    created = Environment(folder)
    created.install("--no-deps", str(wheel))
    (site,) = folder.glob("lib/python*/site-packages")
    # A path alone: the files of an outer environment's own .pth, editable installs say, stay out.
    outer = {str(Path(module.__file__).parents[1]) for module in (torch, sys.modules["pytest"])}
    (site / "outer.pth").write_text("\n".join(sorted(outer)) + "\n")
    return created


def _pip(python: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *words]
    return subprocess.run(
        command, text=True, check=False, timeout=LIMIT, env=_clean(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _clean() -> dict[str, str]:
    """The environment without what this run was configured by."""
    ours = ("PYTEST_", "PYTHONPATH", "HYPOTHESIS_", "GPTQ_FUZZ_", "COV_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def project(folder: Path, files: dict[str, str]) -> Path:
    """Write a project's files; gives its folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def reproduce_line(output: str) -> str:
    """The first printed command, as it stands."""
    lines = [line.strip() for line in output.splitlines()]
    return next(line for line in lines if line.startswith("reproduce: "))[len("reproduce: ") :]
