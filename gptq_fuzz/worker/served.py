"""The process that a kernel runs in: lines of JSON in, verdicts out, on pipes of their own.

It imports torch, the reference and the lower folders of the package alone, so that it also starts
under an engine's own interpreter (`--python`). Standard output and error belong to the kernel.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import sys
import time
from collections.abc import Callable

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import ON_A_GPU
from gptq_fuzz.case.checks import WRONG_ALONE
from gptq_fuzz.worker.calls import noted
from gptq_fuzz.worker.confirming import publish

PROGRESS = 0.2  # seconds between two messages about one step
is_worker = False  # of this process; set where a worker is started


def main(read_fd: int, write_fd: int, options: dict) -> None:
    """Serve requests until the pipe closes. `options`: spec, started_in, device, zones, and the
    file that results are written into. An answer carries the number of its question.
    """
    replies = os.fdopen(write_fd, "w", buffering=1)

    def send(message: dict) -> None:
        replies.write(json.dumps(message) + "\n")

    try:
        served = Served(options)
    except Exception as problem:  # noqa: BLE001 - whatever a plug-in raises
        send({"event": "failed", "reason": str(problem) or repr(problem)})
        return
    served.backend = noted(served.backend, options["calls"])
    served.report_compilations(send)
    served.announce = lambda check, what="": send({"event": "check", "name": check, "what": what})
    served.publish = functools.partial(publish, options["results"])
    send({"event": "ready", **served.description()})
    with os.fdopen(read_fd) as requests:
        for text in requests:
            request = json.loads(text)
            question = {"question": request["question"]}
            task = request.get("task")
            if task:
                case = served.case_of(request["line"])
                found = served.look(task, case, request["check"], request["seconds"])
                send({"event": task, **question, **found})
            elif "steps" in request:
                verdict = served.verdict_on_steps(request["steps"], request["budget"], send)
                send({"event": "verdict", **question, "verdict": verdict.to_json()})
            else:
                verdict = served.judge(request)
                send({"event": "verdict", **question, "verdict": verdict.to_json()})


class Served:
    """A loaded kernel on one device, judging case by case; also what `--in-process` uses."""

    def __init__(self, options: dict, backend=None):
        """Load what `options` say, or take the Backend that is at hand."""
        # Both must be set before CUDA or Triton start.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        import torch

        torch.set_num_threads(1)  # as many workers as cores
        self.device = _device(options["device"], torch)
        if self.device == "cpu":
            os.environ.setdefault("TRITON_INTERPRET", "1")
        else:
            torch.cuda.set_device(self.device)
        from gptq_fuzz.oracle import examination as execute  # noqa: F401 - now: a case's time-out holds no imports
        from gptq_fuzz.oracle import own_threads  # noqa: F401 - now: it notes which threads are none of the kernel's
        from gptq_fuzz.worker.loader import LoadError, load

        self.zones = options["zones"]
        self.announce = None  # of the next check, to whoever outlives this process
        self.publish = None  # what takes a result, for a process without the kernel
        self.note = ""
        self.backend = backend or load(options["spec"], options["started_in"])
        if self.device.split(":")[0] not in self.backend.devices:
            wanted = " or ".join(self.backend.devices)
            raise LoadError(f"{self.backend.name} runs on {wanted}, not on {self.device}")
        if self.backend.start:
            self._start(asked_for=options["device"] is not None)

    def _start(self, asked_for: bool) -> None:
        """Make the kernel ready; where no device was asked for, a CPU will do for a GPU."""
        try:
            self.backend.start(self.device)
        except Exception as problem:
            if asked_for or self.device == "cpu" or "cpu" not in self.backend.devices:
                raise
            self.device, self.note = "cpu", str(problem).splitlines()[0]
            self.backend.start(self.device)

    @property
    def limits(self):
        """Of the kernel on this device."""
        return self.backend.limits.without(ON_A_GPU if self.device == "cpu" else ())

    def case_of(self, line: str):
        from gptq_fuzz.case.case import Case

        return Case.parse(line, self.backend.limits.tokens)

    def judge(self, request: dict):
        """The verdict that a request in JSON asks for: what to judge, how, and for how long."""
        if "problem" in request:
            return self.verdict_on_file(request["problem"], request["calls"], request["seconds"])
        checks = request["checks"]
        checks = tuple(checks) if isinstance(checks, list) else checks
        case = self.case_of(request["line"])
        return self.verdict_on(case, checks, request["calls"], request["seconds"], request["only"])

    def verdict_on(self, case, checks, calls: int, seconds: float, only: str = ""):
        """The verdict on a case, asked in such other ways as `only` names (see case/only.py)."""
        from gptq_fuzz.case.only import narrowed
        from gptq_fuzz.oracle.examination import Request

        limits = narrowed(self.backend.limits, only)
        request = Request(checks, calls, seconds, self.announce, self.publish, limits=limits)
        return self._with_room(lambda: self._examination(case, request).verdict(), case)

    def verdict_on_file(self, path: str, calls: int, seconds: float):
        """The verdict on the problem that a file holds, called so often within so many seconds."""
        from gptq_fuzz.oracle.examination import Request
        from gptq_fuzz.oracle.given import GivenExamination
        from gptq_fuzz.problem.file import load_problem

        request = Request(calls=calls, seconds=seconds)
        problem = load_problem(path)
        given = GivenExamination(self.backend, problem, self.device, request, self.zones)
        return self._with_room(given.verdict)

    def verdict_on_steps(self, line: str, budget: float, send=lambda message: None):
        """The verdict on a history; `send` is told the number of each step before it is run.

        No step begins after `budget` seconds. A step that goes on is told of again, at most every
        PROGRESS seconds.
        """
        from gptq_fuzz.case.history import parse_history
        from gptq_fuzz.oracle.history import History

        last = (-1, 0.0)

        def progress(place: int) -> None:
            nonlocal last
            now = time.monotonic()
            if place != last[0] or now - last[1] > PROGRESS:
                last = place, now
                send({"event": "step", "at": place})

        steps = parse_history(line, self.backend.limits)
        history = History(self.backend, self.device, self.zones, progress)
        return self._with_room(lambda: history.verdict(steps, budget), steps[0].case)

    def _with_room(self, judged: Callable, case=None):
        """The verdict that `judged` returns; memory that others may need is given back after it."""
        from gptq_fuzz.oracle.room import give_back, lacks_memory

        try:
            return judged()
        except Exception as problem:
            if not lacks_memory(problem):  # of ours: what the kernel raises is judged
                raise
            return kinds.Verdict(kinds.SKIPPED, case, "out_of_memory")
        finally:
            give_back(self.device)

    def look(self, task: str, case, check: str = "value", seconds: float | None = None) -> dict:
        """A closer look at the shape of a case: the task is one of LOOKS.

        `check` is what failed, for a diagnosis; WRONG_ALONE, for hints: so are single weights. A
        fingerprint that is not taken within `seconds` is none.
        """
        from gptq_fuzz.fingerprint.measure import take_fingerprint
        from gptq_fuzz.oracle.diagnosis import diagnosed
        from gptq_fuzz.oracle.examination import Request
        from gptq_fuzz.oracle.hints import hints
        from gptq_fuzz.oracle.picture import pictured

        ends = math.inf if seconds is None else time.monotonic() + seconds

        def examine(other):
            return self._examination(other, Request(ends=ends))

        case = case.replace(state="", condition="")
        if task == "fingerprint":
            return take_fingerprint(examine, case)
        if task == "picture":
            return pictured(examine, case)
        if task == "hints":
            return hints(examine, case, check == WRONG_ALONE)
        return diagnosed(examine, case, check)

    def _examination(self, case, request):
        from gptq_fuzz.oracle.examination import Examination

        return Examination(self.backend, case, self.device, request, self.zones)

    def description(self) -> dict:
        import torch

        from gptq_fuzz.oracle.judge import machine_capability

        cuda = self.device != "cpu"
        triton = sys.modules.get("triton")
        return {
            "name": self.backend.name,
            "limits": dataclasses.asdict(self.limits),
            "numerics": dataclasses.asdict(self.backend.numerics),
            "deterministic": self.backend.deterministic,
            "tensor_cores": machine_capability(self.device),
            "device": torch.cuda.get_device_name(self.device) if cuda else "CPU",
            "place": self.device,
            "driver": _driver(torch) if cuda else "",
            "capability": _capability(self.device, torch),
            "torch": str(torch.__version__),  # which is a class of its own
            "triton": getattr(triton, "__version__", ""),
            "note": self.note,
            "interpreted": os.environ.get("TRITON_INTERPRET") == "1",
        }

    def report_compilations(self, send) -> None:
        """Report when Triton compiles: that time is not the kernel's."""
        knobs = getattr(sys.modules.get("triton"), "knobs", None)
        if knobs is None or self.device == "cpu":
            return

        def begins(*_args, **_more):
            send({"event": "compiling"})

        def ends(*_args, **more):
            send({"event": "compiled", "specialisation": specialisation(more)})

        knobs.runtime.jit_cache_hook = begins
        knobs.runtime.jit_post_compile_hook = ends


def specialisation(reported: dict) -> str:
    """One binary as Triton's hook reports it: `matmul[num_warps=4, ...](x_ptr: ...) BLOCK=64`."""
    constants = reported.get("compile", {}).get("constants") or {}
    function = getattr(reported.get("fn"), "jit_function", None)
    names = [parameter.name for parameter in getattr(function, "params", [])]

    def named(place) -> str:
        index = place[0] if isinstance(place, tuple) else place
        return names[index] if isinstance(index, int) and index < len(names) else str(index)

    chosen = sorted(f"{named(place)}={value}" for place, value in constants.items())
    return " ".join([str(reported.get("repr", "")), *chosen])


def _device(wanted: str | None, torch) -> str:
    if wanted is None:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:  # whose text lists every kind of device that there is
        raise RuntimeError(f"--device takes cuda:<number> or cpu, not {wanted}") from None
    if device.type == "cuda":
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise RuntimeError(f"--device {wanted}: this machine has no such device")
        return f"cuda:{device.index or 0}"
    if device.type != "cpu":
        raise RuntimeError(f"--device takes cuda:<number> or cpu, not {wanted}")
    return "cpu"


def _capability(device: str, torch) -> str:
    """`sm_90`, or the instructions that torch uses on this CPU: sums are ordered by them."""
    if device == "cpu":
        return torch.backends.cpu.get_cpu_capability()
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def _driver(torch) -> str:
    """The driver's version where the system has it, else the CUDA version torch was built for."""
    try:
        with open("/sys/module/nvidia/version") as text:
            return text.read().strip()
    except OSError:
        return f"unknown, CUDA {torch.version.cuda}"
