"""A stopwatch in a process of its own, over the kernels of another checkout.

Two commits cannot be imported into one process: their operators have the same names. So each gets
one, and since the parent asks them in turn, they are timed in turn on the same GPU. Kernels, suite
and reference are those of the checkout; what times them is always this one's.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from gptq_fuzz._checkout import PACKAGE

TREE = PACKAGE.parent  # ours: a checkout, or where the package is installed
PATIENCE = 900.0  # seconds for an answer: the build of an extension and tuning are among them
END_LIMIT = 30.0  # seconds for a killed process to go: a driver may keep it
TAIL = 600  # characters of its output that an error shows
BOOT = """
import importlib.util, json, sys
ours, theirs, requests, answers, options = sys.argv[1:]
def load(name, folder):
    spec = importlib.util.spec_from_file_location(
        name, folder + "/__init__.py", submodule_search_locations=[folder])
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
sys.path.insert(0, theirs)
package = load("gptq_fuzz", theirs + "/gptq_fuzz")
package.bench = load("gptq_fuzz.bench", ours + "/bench")
from gptq_fuzz.bench.remote import main
main(int(requests), int(answers), json.loads(options))
"""


class RemoteFailed(Exception):
    """The other process raised or ended; the message holds its output."""


class Remote:
    """The parent's side. `tree` is a checkout, `options` are those of its stopwatch."""

    def __init__(self, tree: Path, options: dict):
        self.tree = tree
        to_child, self._write = os.pipe()
        self._read, from_child = os.pipe()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        words = [str(PACKAGE), str(tree), str(to_child), str(from_child), json.dumps(options)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", BOOT, *words],
            pass_fds=(to_child, from_child),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=tree,
        )
        os.close(to_child)
        os.close(from_child)
        self._buffer = b""

    def prepare(self, spec: str, started_in: str, line: str) -> dict:
        """Make the kernel ready: {"config", "relative_error", "way"}. Raises RemoteFailed."""
        return self._ask(do="prepare", spec=spec, started_in=self._within(started_in), line=line)

    def lap(self, name: str, what: str) -> RemoteLap:
        """The kernel (`what` is "kernel") or the dense product ("cublas") of the prepared case."""
        return RemoteLap(name, self, what)

    def sample(self, what: str) -> float:
        """Seconds of one call. Raises RemoteFailed."""
        return self._ask(do="sample", what=what)["seconds"]

    def stop(self) -> None:
        """End the process."""
        os.close(self._write)
        os.close(self._read)
        self._process.kill()
        self._process.wait(END_LIMIT)
        self._log.close()

    def _within(self, started_in: str) -> str:
        """The same folder in the other checkout, where it is one of ours."""
        if not Path(started_in).is_relative_to(TREE):
            return started_in
        return str(self.tree / Path(started_in).relative_to(TREE))

    def _ask(self, **request) -> dict:
        try:
            os.write(self._write, (json.dumps(request) + "\n").encode())
            answer = self._answer()
        except OSError:
            answer = None
        if answer is None:
            raise RemoteFailed(f"the stopwatch of {self.tree} ended{self._tail()}")
        if "problem" in answer:
            raise RemoteFailed(f"in {self.tree}: {answer['problem']}")
        return answer

    def _answer(self) -> dict | None:
        ends = time.monotonic() + PATIENCE
        while b"\n" not in self._buffer:
            left = max(0.0, ends - time.monotonic())
            ready = select.select([self._read], [], [], left)[0] if left else []
            data = os.read(self._read, 65536) if ready else b""
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def _tail(self) -> str:
        self._log.seek(0)
        text = self._log.read().decode(errors="replace").strip()
        return f"; its output ended: {text[-TAIL:]}" if text else ""


class RemoteLap:
    """What `interleaved` asks for samples."""

    def __init__(self, name: str, remote: Remote, what: str):
        self.name, self._remote, self._what = name, remote, what

    def sample(self) -> float:
        """Seconds of one call."""
        return self._remote.sample(self._what)


def main(read_fd: int, write_fd: int, options: dict) -> None:
    """The child's side, over a real device."""
    from gptq_fuzz.bench.bound import Ceilings
    from gptq_fuzz.bench.device import open_device
    from gptq_fuzz.bench.stopwatch import Stopwatch

    stopwatch = Stopwatch(open_device(options["device"]), Ceilings(*options["ceilings"]))
    with os.fdopen(read_fd) as requests, os.fdopen(write_fd, "w", buffering=1) as answers:
        serve(requests, answers, stopwatch)


def serve(requests, answers, stopwatch) -> None:
    """Answer lines of JSON until there are no more; what is raised is an answer too."""
    laps: dict = {}
    for text in requests:
        try:
            answer = _answered(json.loads(text), stopwatch, laps)
        except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
            where = traceback.format_exception(problem)[-2:]
            answer = {"problem": f"{type(problem).__name__}: {problem} {''.join(where)}"}
        answers.write(json.dumps(answer) + "\n")


def _answered(request: dict, stopwatch, laps: dict) -> dict:
    if request["do"] == "sample":
        return {"seconds": laps[request["what"]].sample()}
    case = stopwatch.case(request["spec"], request["started_in"], request["line"])
    prepared = stopwatch.prepare(request["spec"], request["started_in"], case)
    laps.update(kernel=prepared.lap, cublas=stopwatch.cublas(case))
    return {
        "config": prepared.config,
        "relative_error": prepared.relative_error,
        "way": prepared.lap.way,
    }
