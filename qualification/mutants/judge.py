"""Runs the tests that concern a mutant on a copy of the tree, within limits of processor time."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from qualification.report import ROOT

from .plans import commands
from .site import Mutant

COPIED = ("gptq_fuzz", "kernels", "reference", "tests", "qualification", "docs", "benchmarks",
          "conftest.py", "pyproject.toml", "tox.ini", "README.md", "CONTRIBUTING.md",
          "LICENSE")  # fmt: skip
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*")
PATIENCE, GRACE = 4.0, 30.0  # times what the code as it is takes, and seconds on top
LONGEST = 1800.0  # seconds of processor time for the code as it is
STALLED = 90.0  # seconds in which nothing got any processor time: it waits for ever
MOST_MEMORY = 32 * 2**30  # bytes of address space
BUILD = "from kernels.exllama import build; build.build(build.host_recipe(), build.SOURCES)"
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S.*?)(?: - (.*))?$", re.MULTILINE)
KILLED, SURVIVED, STILLBORN = "killed", "survived", "does not compile"


class BrokenBaseline(Exception):
    """Tests fail on the code as it is: they could tell nothing about a mutant."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant, which test noticed it, seconds of processor time."""

    outcome: str
    by: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Ended:
    """A command: `status` is None where it was ended for being `late`."""

    status: int | None
    output: str
    seconds: float
    late: str = ""


class Judge:
    """Judges mutants on copies of a snapshot of the tree; close() removes all of them."""

    def __init__(self, root: Path = ROOT, plan=commands):
        self._plan = plan
        self._scratch = Path(tempfile.mkdtemp(prefix="gptq-mutants-"))
        self._template, self._extensions = self._scratch / "tree", self._scratch / "extensions"
        self._limits: dict[tuple[str, ...], float] = {}
        self._turns: dict[tuple[str, ...], threading.Lock] = {}  # one baseline of each command
        self._extensions.mkdir()
        self._template.mkdir()
        for name in COPIED:
            place = root / name
            if place.is_dir():
                shutil.copytree(place, self._template / name, ignore=NOT_COPIED)
            elif place.exists():
                shutil.copy(place, self._template / name)

    def close(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)

    def prepare(self) -> None:
        """Compile what mutants of the CUDA sources have in common; copies begin with it."""
        ended = run(["-c", BUILD], self._template, self._extensions, LONGEST)
        if ended.status != 0:
            raise BrokenBaseline(f"the host build fails:\n{ended.output[-2000:]}")

    def limit(self, words: list[str]) -> float:
        """Seconds for a command, from how long it takes on the code as it is.

        Raises BrokenBaseline where it fails there.
        """
        key = tuple(sorted(words))  # the order of files differs from mutant to mutant
        with self._turns.setdefault(key, threading.Lock()):
            if key not in self._limits:
                with self._copy() as (folder, extensions):
                    ended = run(["-m", *words], folder, extensions, LONGEST)
                about = f"{' '.join(words)}, {ended.seconds:.0f} s"
                if ended.status != 0:
                    last = f"{ended.late}\n{ended.output[-3000:]}"
                    raise BrokenBaseline(f"fails without any mutant: {about}\n{last}")
                self._limits[key] = PATIENCE * ended.seconds + GRACE
            return self._limits[key]

    def judge(self, mutant: Mutant) -> Verdict:
        """Up to the first command that fails; each must pass on the code as it is before."""
        seconds, path = 0.0, mutant.site.path
        with self._copy() as (folder, extensions):
            (folder / path).write_text(mutant.source, encoding="utf-8")
            if not path.endswith(".py"):
                built = run(["-c", BUILD], folder, extensions, LONGEST)
                if built.status != 0:
                    return Verdict(STILLBORN, seconds=built.seconds)
            for words in self._plan(path, self._template):
                ended = run(["-m", *words], folder, extensions, self.limit(words))
                seconds += ended.seconds
                if ended.status != 0:
                    return Verdict(KILLED, _noticed(ended), seconds)
        return Verdict(SURVIVED, seconds=seconds)

    @contextlib.contextmanager
    def _copy(self):
        """A copy of the tree and of what was compiled of it: what a mutant builds stays its own."""
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        try:
            shutil.copytree(self._template, folder / "tree")
            shutil.copytree(self._extensions, folder / "extensions")
            yield folder / "tree", folder / "extensions"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _noticed(ended: Ended) -> str:
    found = FAILED.search(ended.output)
    if ended.late or not found:
        return ended.late or f"exit status {ended.status}"
    return " - ".join(filter(None, found.groups()))[:200]


def run(words: list[str], folder: Path, extensions: Path, limit: float) -> Ended:
    """Run Python in `folder` for at most `limit` seconds of processor time, children included."""
    home = folder.parent / f"{folder.name}-home"
    home.mkdir(exist_ok=True)
    private = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "TRITON_CACHE_DIR"), str(home))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | private
    environment |= {"TORCH_EXTENSIONS_DIR": str(extensions), "PYTHONDONTWRITEBYTECODE": "1",
                    "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    with tempfile.TemporaryFile(dir=home) as log:
        process = psutil.Popen(
            [sys.executable, *words], cwd=folder, env=environment, stdout=log, stderr=log
        )
        seconds, late = _watch(process, limit)
        log.seek(0)
        output = log.read().decode(errors="replace")
    return Ended(None if late else process.returncode, output, seconds, late)


def _watch(process: psutil.Popen, limit: float) -> tuple[float, str]:
    """Wait for the end, or end it; seconds of processor time, and why it was ended."""
    with contextlib.suppress(psutil.NoSuchProcess, OSError):
        process.rlimit(psutil.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    used, moved = 0.0, time.monotonic()
    while True:
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(timeout=0.5)
            return used, ""
        now = max(used, _processor_time(process))
        moved, used = (time.monotonic() if now > used + 0.01 else moved), now
        late = f"no end within {limit:.0f} s of processor time" * (used > limit)
        if time.monotonic() - moved > STALLED:
            late = f"no processor time for {STALLED:.0f} s"
        if late:
            _end(process)
            return used, late


def _processor_time(process: psutil.Process) -> float:
    """Seconds that a process and all that it has started have used."""
    seconds = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                seconds += sum(one.cpu_times()[:4])  # its own, and of children that have ended
    return seconds


def _end(process: psutil.Popen) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()
