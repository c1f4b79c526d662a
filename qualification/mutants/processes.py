"""Runs stages in processes of their own, side by side, within time limits.

A child is forked from this process, which has imported torch, triton, hypothesis and pytest but
nothing of the code under test: it starts within milliseconds and is as good as a fresh one.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .hostbuild import keep_extensions, link_extensions
from .outcome import Outcome
from .scratch import Tree
from .sites import ROOT
from .stages import Stage

OURS = ("kernels", "reference", "tests", "conftest", "museum_parts")
MOST_MEMORY = 16 * 2**30  # bytes of address space on top: what runs away ends in an exception
TICK = 0.02
LOOK = 1.0  # seconds between two looks at how much processor time a child has used
# What gets no processor time for so long waits for ever, however busy the machine is.
STALLED = 60.0
PER_SECOND = os.sysconf("SC_CLK_TCK")
CRASHED, TIMED_OUT = "CRASHED", "TIMED_OUT"


@dataclass
class Child:
    """A stage at work on one copy of the tree; `limit` is of processor time."""

    token: object
    stage: Stage
    folder: Path
    built: Path  # the extension of these sources, which stages of one mutant have in common
    pid: int
    started: float
    limit: float
    cpu: float = 0.0
    looked: float = 0.0
    moved: float = 0.0  # when `cpu` last grew
    over: str = ""  # why it was ended

    def look(self, now: float) -> None:
        """See how far it is; end it where it takes too long or waits for ever."""
        if now - self.looked < LOOK:
            return
        used = processor_time(self.pid)
        if used > self.cpu + 0.01 or not self.looked:
            self.moved = now
        self.looked, self.cpu = now, max(self.cpu, used)
        if self.cpu > self.limit:
            self.over = f"no end within {self.limit:.0f} s of processor time"
        elif now - self.moved > STALLED:
            self.over = f"no processor time for {STALLED:.0f} s"


class Processes:
    """At most `jobs` stages at a time; `start` them, then wait for `finished` ones.

    What still runs at `ends`, a time of time.monotonic(), is ended and has no outcome.
    """

    def __init__(self, tree: Tree, jobs: int, ends: float = float("inf")):
        self.tree, self.jobs, self.ends = tree, jobs, ends
        self._running: list[Child] = []
        gc.freeze()  # what is here now is no business of the children's collectors

    @property
    def busy(self) -> bool:
        return len(self._running) >= self.jobs

    def __len__(self) -> int:
        return len(self._running)

    def start(self, token, stage: Stage, changed: dict[str, str], limit: float) -> None:
        """Begin `stage` on a copy with `changed` files; `token` comes back with its outcome."""
        folder, built = self.tree.with_files(changed), self.tree.built(changed)
        pid = os.fork()
        if pid == 0:
            _be_child(stage, folder, built)  # never returns
        self._running.append(Child(token, stage, folder, built, pid, time.monotonic(), limit))

    def finished(self) -> Iterator[tuple[object, Outcome]]:
        """Wait until something is done; what is done by then, with its token."""
        while self._running:
            done = [child for child in self._running if self._is_over(child)]
            if done:
                break
            if time.monotonic() > self.ends:
                return self.stop()
            time.sleep(TICK)
        for child in list(self._running):
            if child in done:
                self._running.remove(child)
                yield child.token, self._outcome(child)

    def _is_over(self, child: Child) -> bool:
        ended, _, usage = os.wait4(child.pid, os.WNOHANG)
        if ended:
            child.cpu = max(child.cpu, usage.ru_utime + usage.ru_stime)
            return True
        child.look(time.monotonic())
        if child.over:
            end(child.pid)
        return bool(child.over)

    def _outcome(self, child: Child) -> Outcome:
        seconds = time.monotonic() - child.started
        told = _messages(child.folder / "told.jsonl")
        keep_extensions(child.folder / "home", child.built)
        shutil.rmtree(child.folder, ignore_errors=True)
        last = told[-1] if told else {}
        more = {"seconds": seconds, "cpu": child.cpu}
        more["notes"] = [message["note"] for message in told if "note" in message]
        if "outcome" in last:
            return replace(Outcome(**last["outcome"]), **more)
        verdict = TIMED_OUT if child.over else CRASHED
        message = child.over or "the process died"
        place = next((said["at"] for said in reversed(told) if "at" in said), "start")
        return Outcome(child.stage.name, verdict, "process", place, message, **more)

    def stop(self) -> None:
        """End what still runs."""
        for child in self._running:
            end(child.pid)
        self._running.clear()


def run_all(
    processes: Processes, work: deque, begin: Callable, note: Callable[[object, Outcome], None]
) -> None:
    """`begin(token)` starts each piece of work; `note` may put more at the front of `work`."""
    try:
        while work or len(processes):
            while work and not processes.busy:
                begin(work.popleft())
            for token, outcome in processes.finished():
                note(token, outcome)
    finally:
        processes.stop()


def _be_child(stage: Stage, folder: Path, built: Path) -> None:
    told = (folder / "told.jsonl").open("a", encoding="utf-8", buffering=1)
    status = 1
    try:
        os.setsid()
        _enter(folder, built)
        outcome = stage.run(lambda **said: told.write(json.dumps(said) + "\n"))
        told.write(json.dumps({"outcome": asdict(outcome)}) + "\n")
        status = 0
    except BaseException as problem:  # noqa: BLE001 - a mutant may raise anything
        text = f"{type(problem).__name__}: {problem}"[:200]
        told.write(json.dumps({"outcome": asdict(_raised(stage, text))}) + "\n")
    finally:
        told.close()
        os._exit(status)


def _raised(stage: Stage, text: str) -> Outcome:
    return Outcome(stage.name, "RAISED", "import", "", text)


def _address_space() -> int:
    """Bytes that this process has: where CUDA runs, all of the GPU's memory is among them."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _enter(folder: Path, built: Path) -> None:
    """Make the copy the place that everything is imported from and written to."""
    most = _address_space() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    sys.path[:] = [str(folder), *(p for p in sys.path if p not in ("", str(ROOT), str(Path.cwd())))]
    sys.dont_write_bytecode = True
    os.chdir(folder)
    home = folder / "home"
    home.mkdir()
    os.environ |= {name: str(home) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    link_extensions(home, built)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ["PYTHONPATH"] = str(folder)
    log = os.open(home / "log", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)


def _messages(path: Path) -> list[dict]:
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def end(pid: int) -> None:
    """Kill a child of ours and whatever it has started."""
    for one in [pid, *_descendants(pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def processor_time(pid: int) -> float:
    """Seconds that a process and all that it has started have used; 0 where it is gone."""
    used = 0
    for one in [pid, *_descendants(pid)]:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            used += sum(map(int, fields[11:15]))  # its own and that of children it has waited for
    return used / PER_SECOND


def _descendants(pid: int) -> list[int]:
    """Children, their children and so on; their sessions differ, so no group holds them all."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
    found, fresh = [], {pid}
    while fresh := {child for child, parent in parents.items() if parent in fresh}:
        found += fresh
    return found
