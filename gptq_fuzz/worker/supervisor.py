"""The parent's side of a worker: starts it, waits with a time limit, names what killed it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gptq_fuzz._checkout import PACKAGE
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.checks import NOT_MAPPED
from gptq_fuzz.case.environment import UNTIMED
from gptq_fuzz.case.history import BETWEEN, Step
from gptq_fuzz.case.verdict import CONFIRMED, Verdict
from gptq_fuzz.worker.calls import FIRST_TIMES, Calls
from gptq_fuzz.worker.confirming import Confirming, Share
from gptq_fuzz.worker.ending import MARK, end_all
from gptq_fuzz.worker.output import Output

DEFAULT_TIMEOUT = 60.0  # seconds for one call
START_LIMIT = 600.0  # seconds: imports, and the build of an extension
QUIET_START = 3.0  # seconds until a worker that is not ready is told of, then after twice as many
COMPILE_LIMIT = 300.0  # seconds that Triton may compile for one case, beyond its time-out
LONGEST = 3600.0  # seconds to any answer, however often something is compiled meanwhile
LARGEST = 2**24  # bytes of a message: more is no message
END_LIMIT = 30.0  # seconds for a killed process to go: a driver may keep it
# Time-outs of a case that a closer look may take.
LOOKS = {"fingerprint": 30, "diagnosis": 3, "picture": 3, "hints": 3}
REPEAT_SECONDS = 10.0  # that a case may be called again and again for, to catch a flaky kernel
KEPT = 4096  # cases that a process has judged; of more, the latest
ENDS = ("timed out", "closed", "garbage")  # of waiting, without an answer
TAIL = 600  # characters of the kernel's own output that a report shows
# The package is loaded from its folder: `sys.path` of a kernel's environment stays what it is, so
# that an engine's own torch, `kernels` and `tests` are found there and nothing of ours is.
BOOT = """
import sys
places, sys.path[:] = sys.path[:], [place for place in sys.path if place]  # no kernel's folder yet
import importlib.util, json
folder, requests, replies, options = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    "gptq_fuzz", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["gptq_fuzz"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from gptq_fuzz.worker import confirming, ending, served
requests, replies, options = int(requests), int(replies), json.loads(options)
if options["zones"]:  # no sanitizer watches
    ending.end_with(options["alive"])
    confirming.begin(*options["confirming"], options["results"], others=(requests, replies))
sys.path[:] = places
served.is_worker = True
served.main(requests, replies, options)
"""


class CannotRun(Exception):
    """The kernel did not load or its worker did not start; the message says why."""


class Ended(Exception):
    """No verdict: the run ended the worker while it was asked."""


@dataclass(frozen=True)
class Launch:
    """How a kernel's worker is started; `sanitizer` is a compute-sanitizer tool, or "".

    `only` are tokens, see case/only.py: a case is asked in no other ways than they allow.
    """

    spec: str
    started_in: str
    device: str | None = None
    only: str = ""
    python: str = sys.executable
    sanitizer: str = ""
    timeout: float = DEFAULT_TIMEOUT
    in_flight: str = ""  # file that says what is being judged, written before the launch
    quiet: bool = False  # nothing is said of a start that takes long


class Asked(NamedTuple):
    """A case that was judged, and how: what `Worker.ask` takes."""

    case: Case
    checks: str | tuple[str, ...] | None
    calls: int


class Worker:
    """One kernel in one supervised process; `ask` judges a line, whatever becomes of that."""

    def __init__(self, launch: Launch):
        self.launch = launch
        self.restarts = -1
        self.description: dict = {}
        self.compiled: set[str] = set()  # Triton's specialisations, see `served.specialisation`
        self._first_times = FIRST_TIMES  # of the limit of a call, for first ones
        self.reached = 0  # the last step of a history that was begun
        self.judged: list[Asked] = []  # since the process started
        self._process: subprocess.Popen | None = None
        self._is_ended = False
        self._share = Share()
        self._at = "value", ""  # the check that was begun last, and what is asked in it
        self._buffer = b""
        self._calls: Calls | None = None
        self._output: Output | None = None
        self._ended: list[int] = []  # a descriptor that can be read once the process has ended

    @property
    def limits(self) -> Limits:
        return Limits.from_json(self.description["limits"])

    def start(self) -> None:
        """Start the process and wait until the kernel is loaded. Raises CannotRun."""
        self.begin()
        self.wait_ready()

    def begin(self) -> None:
        """Start the process; several can load side by side before `wait_ready`."""
        self.restarts += 1
        to_worker, self._write = os.pipe()
        self._read, from_worker = os.pipe()
        alive, self._alive = os.pipe()
        self._output, self._calls, self._confirming = Output(), Calls(), Confirming()
        self._calls.first_times = self._first_times
        self._mark, self._killed_before = secrets.token_hex(8), _killed_for_memory()
        options = {
            "alive": alive,
            "calls": self._calls.file,
            "confirming": self._confirming.theirs,
            "results": self._confirming.results,
            "spec": self.launch.spec,
            "started_in": self.launch.started_in,
            "device": self.launch.device,
            "zones": not self.launch.sanitizer,
        }
        command = [self.launch.python, "-c", BOOT, str(PACKAGE), str(to_worker), str(from_worker)]
        self._process = subprocess.Popen(
            self._sanitized([*command, json.dumps(options)]),
            pass_fds=(
                *(to_worker, from_worker, alive, self._calls.file),
                *(*options["confirming"], options["results"]),
            ),
            stdin=subprocess.DEVNULL,
            stdout=self._output.theirs,
            stderr=self._output.theirs,
            cwd=self.launch.started_in,
            env=self._environment(),
            start_new_session=True,
        )
        for end in (to_worker, from_worker, alive):
            os.close(end)
        self._output.begun()
        self._confirming.begun()
        with contextlib.suppress(OSError):  # an older Linux
            self._ended = [os.pidfd_open(self._process.pid)]
        self._buffer = b""
        self.judged = []  # another list: who holds the last one may keep it

    def wait_ready(self) -> None:
        """Wait for the kernel to be loaded. Raises CannotRun with the reason."""
        waited, until = 0.0, QUIET_START
        while (message := self._receive(until - waited)).get("event") == "timed out":
            if until >= START_LIMIT:
                break
            waited, until = until, min(2 * until, START_LIMIT)
            if not self.launch.quiet:
                text = f"{self.launch.spec} is not ready after {waited:g} s{self._tail()}"
                sys.stderr.write(f"gptq-fuzz: {text}\n")
        if message.get("event") != "ready":
            kind = self._kind_of_death(message)  # which waits for the process to end
            is_late = kind == kinds.TIMED_OUT
            cause = f"not loaded after {until:g} s" if is_late else self._cause(message)
            reason = f"--kernel {self.launch.spec}: {kind}: {cause}{self._tail()}"
            reason = message.get("reason", reason)
            self.stop()
            raise CannotRun(reason)
        if self.description and message["device"] != self.description["device"]:
            self.stop()  # a GPU that is gone: on a CPU it would be another kernel
            had = f"{self.launch.spec} ran on {self.description['device']}"
            raise CannotRun(f"--kernel {had}, its new process on {message['device']}")
        self.description = message

    def _sanitized(self, command: list[str]) -> list[str]:
        if not self.launch.sanitizer:
            return command
        tool = shutil.which("compute-sanitizer")
        if tool is None:
            raise CannotRun("--sanitizer wants compute-sanitizer (of the CUDA toolkit) on the PATH")
        self._reports = tempfile.NamedTemporaryFile(prefix="gptq-fuzz-san-")  # noqa: SIM115
        self._reports_read = 0
        options = ["--tool", self.launch.sanitizer, "--log-file", self._reports.name]
        return [tool, *options, *_SANITIZER_OPTIONS.get(self.launch.sanitizer, ()), *command]

    def _environment(self) -> dict[str, str]:
        extra = {}
        if self.launch.sanitizer:  # exact allocations, and errors at the launch that caused them
            extra = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "CUDA_LAUNCH_BLOCKING": "1"}
            extra[UNTIMED] = "1"
        return os.environ | extra | {MARK: self._mark}

    def ask(self, case: Case, checks="all", calls: int = 1) -> Verdict:
        """The verdict on one case; CRASHED, TIMED_OUT or LOST when the process gave none."""
        request = {"line": str(case), "checks": checks, "calls": calls, "only": self.launch.only}
        started = time.monotonic()
        verdict = self._verdict(request, case, ("--case", str(case)), self.launch.timeout)
        if verdict.kind in (kinds.PASS, kinds.REJECTED):
            is_asked_for = calls > 1 or CONFIRMED in (checks or ())
            verdict = self._confirmed(verdict, is_asked_for, time.monotonic() - started)
        if len(self.judged) == 2 * KEPT:
            self.judged = self.judged[-KEPT:]
        self.judged.append(Asked(case, checks, calls))
        return verdict

    def _confirmed(self, verdict: Verdict, is_asked_for: bool, seconds: float) -> Verdict:
        """The verdict, or what contradicts it: its kind, its result, or a judge without a kernel.

        Results are judged anew where that is asked for, and where chance has it.
        """
        case, confirming = verdict.case, self._confirming
        is_due = bool(case.bad or self.limits.violations(case))  # an exception
        if is_due != (verdict.kind == kinds.REJECTED):
            why = f"{verdict.kind} is no answer where {'an exception' if is_due else 'none'} is due"
            return Verdict(kinds.WRONG, case, why, check=CONFIRMED)
        if is_due or self.launch.sanitizer:
            return verdict
        if confirming.lacks(case):
            return Verdict(kinds.WRONG, case, "PASS was answered without a result", check=CONFIRMED)
        if not (self._share.draws(case, seconds) or is_asked_for):
            return verdict
        try:
            found = confirming.ask(case, self.description)
        except OSError:
            self._raise_if_ended()
            self.stop()
            return Verdict(kinds.LOST, case, "the process that judges results anew has ended")
        if "wrong" in found:
            found["wrong"] = f"judged anew in a process without the kernel: {found['wrong']}"
            more = {"check": CONFIRMED, "ratio": found["ratio"]}
            return Verdict(kinds.WRONG, case, found["wrong"], found["where"], **more)
        self._share.took(found.get("seconds", seconds))
        return verdict

    def ask_file(self, path: Path, calls: int = 1, patience: float = 0.0) -> Verdict:
        """The verdict on the problem that a file holds, which takes `patience` seconds to judge."""
        request = {"problem": str(Path(path).resolve()), "calls": calls}
        asked = (f"--problem={path}",)
        return self._verdict(request, None, asked, self.launch.timeout + patience)

    def ask_steps(self, steps: Sequence[Step], budget: float = math.inf) -> Verdict:
        """The verdict on a history, of which no step begins after `budget` seconds.

        `reached` is the number of the last step that was begun; the time limit is for each call.
        """
        self.reached = 0
        line = BETWEEN.join(step.text for step in steps)
        limit = self.launch.timeout
        request = {"steps": line, "budget": budget}
        verdict = self._verdict(request, steps[0].case, ("--steps", line), limit)
        verdict.case = steps[self.reached].case
        if verdict.kind in kinds.FATAL and verdict.check != "history":  # else it says so itself
            verdict.message += f"; at step {self.reached + 1} ({steps[self.reached].text})"
            verdict.check = "history"
        return verdict

    def _verdict(
        self, request: dict, case: Case | None, asked: Sequence[str], limit: float
    ) -> Verdict:
        self._raise_if_ended()
        try:
            if self._process is None:
                self.start()
        except CannotRun:
            self._raise_if_ended()
            raise
        self._raise_if_ended()  # meanwhile
        request["seconds"] = min(REPEAT_SECONDS, self.launch.timeout / 4)
        with in_flight(self.launch, asked):
            message = self._exchange(request, limit)
            died = message["event"] != "verdict"
            if died:
                self._raise_if_ended()
        if died:
            verdict = self._death_verdict(message, case)
        else:
            verdict = _answered(message.get("verdict"), case)
        self._add_sanitizer_reports(verdict)  # what it reports may be what killed the process
        if died or verdict.kind in kinds.FATAL:
            self.stop()
        return verdict

    def look(
        self, task: str, case: Case, check: str = "value", seconds: float | None = None
    ) -> dict:
        """A closer look at a case's shape, see `Served.look`; "problem" if it died."""
        if self._process is None:
            self.start()
        request = {"line": str(case), "task": task, "check": check, "seconds": seconds}
        message = self._exchange(request, LOOKS[task] * self.launch.timeout)
        if message.get("event") != task:
            problem = self._death_verdict(message, case).headline()
            self.stop()
            return {"problem": problem}
        return message

    def _exchange(self, request: dict, limit: float) -> dict:
        self._limit = limit
        self._at = "value", ""
        question = secrets.token_hex(8)
        self._confirming.clear()
        try:
            os.write(self._write, (json.dumps(request | {"question": question}) + "\n").encode())
        except OSError:
            return {"event": "closed"}
        message = self._receive(limit)
        event = message.get("event")
        if event in ENDS:
            return message
        if message.get("question") != question:
            return {"event": "unasked"}
        return message if event == request.get("task", "verdict") else _garbage(message)

    def _receive(self, limit: float) -> dict:
        """The next message that is not about compiling; that time does not count, up to a limit."""
        ends = time.monotonic() + limit
        last = ends + LONGEST
        compiling, since, compiled = 0, 0.0, 0.0  # a tuner compiles several configs at a time
        while (now := time.monotonic()) < last:
            until = min(since + COMPILE_LIMIT if compiling else ends, last)
            message = self._next_message(until - now)
            is_late = message.get("event") == "timed out" and not compiling and self._calls
            if is_late and (later := self._calls.deadline(limit) + compiled) > ends:
                ends = later  # another call
            elif message.get("event") == "step":
                self.reached, ends = message["at"], time.monotonic() + limit
                last = ends + LONGEST
            elif message.get("event") == "check":
                self._at = message["name"], message["what"]
            elif message.get("event") == "compiling":
                since = since if compiling else time.monotonic()
                compiling += 1
            elif message.get("event") == "compiled":
                self.compiled.add(message.get("specialisation", ""))
                spent = time.monotonic() - since if compiling == 1 else 0.0
                ends, compiled = ends + spent, compiled + spent
                compiling = max(compiling - 1, 0)
            else:
                return message
        return {"event": "timed out"}

    def _next_message(self, seconds: float) -> dict:
        ends = time.monotonic() + seconds
        is_late = False
        while b"\n" not in self._buffer:
            left = ends - time.monotonic()
            ready = self._ready(max(0.0, left))
            if self._read not in ready:
                if left > 0 and not is_late and not self._has_ended(ready):
                    continue
                return {"event": "closed" if self._has_ended(ready) else "timed out"}
            if is_late:
                return {"event": "timed out"}
            is_late = left < 0  # what was there in time is read; bytes that trickle in are not
            data = os.read(self._read, 65536)
            if not data:
                return {"event": "closed"}
            self._buffer += data
            if len(self._buffer) > LARGEST:
                return {"event": "garbage", "text": self._buffer[:80].decode(errors="replace")}
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
            is_one = message.get("event") not in ENDS
        except (AttributeError, ValueError):
            is_one = False
        return message if is_one else _garbage(line.decode(errors="replace"))

    def _ready(self, seconds: float) -> list[int]:
        """Of the descriptors that an answer, or the end of the process, can be read from; what the
        kernel prints meanwhile is taken.
        """
        is_open = self._output is not None and self._output.is_open
        output = [self._output.file] if is_open else []
        ready, _, _ = select.select([self._read, *self._ended, *output], [], [], seconds)
        if output and output[0] in ready:
            self._output.take()
        return ready

    def _has_ended(self, ready: list[int]) -> bool:
        """Whatever still holds the pipe: a process that the kernel forked."""
        return bool({*self._ended} & {*ready})

    def _death_verdict(self, message: dict, case: Case | None) -> Verdict:
        kind, (check, what) = self._kind_of_death(message), self._at
        cause = self._cause(message) + (NOT_MAPPED.format(what) if what else "")
        return Verdict(kind, case, cause + self._tail(), check=check)

    def _kind_of_death(self, message: dict) -> str:
        if message.get("event") == "timed out":
            return kinds.TIMED_OUT
        if message.get("event") == "closed" and self._ended_by_signal():
            return kinds.LOST if self._process.returncode == -signal.SIGKILL else kinds.CRASHED
        return kinds.LOST

    def _ended_by_signal(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        # A sanitizer or a shell reports a child's signal as 128 + its number.
        return code is not None and (code < 0 or code > 128)

    def _cause(self, message: dict) -> str:
        if message.get("event") == "timed out":
            return self._lateness()
        if message.get("event") == "garbage":
            return f"the worker's pipe carried {message['text']!r}"
        if message.get("event") == "unasked":
            return "an answer came to no question, or once more to an earlier one"
        code = self._process.returncode
        if code == -signal.SIGKILL:
            is_for_memory = _killed_for_memory() > self._killed_before
            why = "the system had no memory left" if is_for_memory else "SIGKILL"
            return f"the process was killed from outside: {why}"
        if code is not None and code < 0:
            return f"the process died of {signal.Signals(-code).name}"
        return f"the process ended with exit status {code}"

    def _lateness(self) -> str:
        """Of a call; the next first ones have no more time than others."""
        if self._calls is None or not self._calls.is_first:
            return f"no answer within {self._limit:g} s (--timeout)"
        times, self._first_times = self._calls.first_times, 1
        more = f", {times} times that for a first call" if times > 1 else ""
        return f"no answer within {times * self._limit:g} s (--timeout{more})"

    def _tail(self) -> str:
        text = self._output.end()
        return f"; its output ended: {text[-TAIL:]!r}" if text else ""

    def _add_sanitizer_reports(self, verdict: Verdict) -> None:
        """Any growth of the sanitizer's log since the last case is about this one."""
        if not self.launch.sanitizer:
            return
        text = Path(self._reports.name).read_text(errors="replace")
        lines = [line for line in text.splitlines() if not line.startswith("========= COMPUTE-SAN")]
        fresh, self._reports_read = lines[self._reports_read :], len(lines)
        output = [line.removeprefix("=========").strip() for line in fresh if _NOT_OURS not in line]
        if not any(output):
            return
        report = f"compute-sanitizer {self.launch.sanitizer}: {'; '.join(output[:4])}"
        if verdict.kind in (kinds.PASS, *kinds.FATAL, kinds.RAISED, kinds.REJECTED):
            verdict.kind, verdict.message = _SANITIZER_VERDICT[self.launch.sanitizer], report
        else:
            verdict.message += f"; {report}"

    def end(self) -> None:
        """For good, from another thread: who waits for an answer gets Ended."""
        self._is_ended = True
        with contextlib.suppress(AttributeError, ProcessLookupError):  # none; gone by itself
            os.killpg(self._process.pid, signal.SIGKILL)

    def _raise_if_ended(self) -> None:
        if self._is_ended:
            self.stop()
            raise Ended

    def stop(self) -> None:
        """End the process and whatever it started."""
        process, self._process = self._process, None
        if process is None:
            return
        end_all(self._mark, process.pid)
        try:
            process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"gptq-fuzz: process {process.pid} was killed and does not end\n")
        for end in (self._read, self._write, self._alive, *self._ended):
            os.close(end)
        self._ended = []
        for shared in (self._confirming, self._calls, self._output):
            shared.close()


def _killed_for_memory() -> int:
    """Processes that the system has killed since it started, for want of memory."""
    with contextlib.suppress(OSError), open("/proc/vmstat") as counters:
        for line in counters:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _garbage(message) -> dict:
    return {"event": "garbage", "text": str(message)[:80]}


def _answered(plain: dict, case: Case | None) -> Verdict:
    """The verdict that a worker gave; one that cannot be is a finding."""
    try:
        verdict = Verdict.from_json(plain, case)
        contradiction = verdict.contradiction()
    except (AttributeError, TypeError, ValueError) as problem:
        return Verdict(kinds.LOST, case, f"the worker's answer is no verdict: {problem}")
    return Verdict(kinds.WRONG, case, contradiction, check=CONFIRMED) if contradiction else verdict


@contextlib.contextmanager
def in_flight(launch: Launch, asked: Sequence[str]) -> Iterator[None]:
    """Within, and where that is broken off, the launch's file holds the options that ask again."""
    words = shlex.join(["--kernel", launch.spec, *asked])  # as the file system has it: any locale
    if launch.in_flight:
        _overwrite(launch.in_flight, f"{words}\n".encode("utf-8", "surrogateescape"))
    yield
    if launch.in_flight:
        _overwrite(launch.in_flight, b"\n")


def _overwrite(path: str, data: bytes) -> None:
    """Write, then cut: ext4 sends a file that was emptied first to the disk, for milliseconds.

    A disk that is full costs no verdict.
    """
    with contextlib.suppress(OSError):
        _write_and_cut(path, data)


def _write_and_cut(path: str, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.write(file, data)
        os.ftruncate(file, len(data))
    finally:
        os.close(file)


# A failed call of the CUDA API is an exception in torch, judged as one.
_SANITIZER_OPTIONS = {"memcheck": ("--padding", "4096", "--report-api-errors", "no")}
# Kernels of cuBLAS on sm_90: racecheck does not follow their barriers in shared memory.
_NOT_OURS = "nvjet_"
_SANITIZER_VERDICT = {
    "memcheck": kinds.OUT_OF_BOUNDS,
    "racecheck": kinds.NONDETERMINISTIC,
    "initcheck": kinds.WRONG,
    "synccheck": kinds.CRASHED,
}
