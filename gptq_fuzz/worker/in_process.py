"""A kernel judged in this process, for debuggers: what `--in-process` asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from gptq_fuzz.case.backend import Backend, Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.history import BETWEEN, Step
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.worker.served import Served
from gptq_fuzz.worker.supervisor import REPEAT_SECONDS, CannotRun, Launch, in_flight


class InProcess:
    """A Worker without its process: a crash ends the run."""

    restarts = 0
    reached = 0
    judged: tuple = ()  # of what no new process can be asked again

    def __init__(self, launch: Launch, backend: Backend | None = None):
        """Judge what `launch` names, or a Backend that is at hand."""
        self.launch, self._backend = launch, backend
        self.compiled: set[str] = set()

    def begin(self) -> None:
        """Nothing to start."""

    def wait_ready(self) -> None:
        """Load the kernel. Raises CannotRun."""
        options = {"spec": self.launch.spec, "started_in": self.launch.started_in, "zones": True}
        try:
            self._served = Served(options | {"device": self.launch.device}, self._backend)
        except Exception as problem:
            raise CannotRun(str(problem)) from problem
        self.description = self._served.description()
        self._served.report_compilations(self._note)

    def _note(self, message: dict) -> None:
        if "specialisation" in message:
            self.compiled.add(message["specialisation"])

    @property
    def limits(self) -> Limits:
        return self._served.limits

    def ask(self, case: Case, checks="all", calls: int = 1) -> Verdict:
        """The verdict on one case."""
        with in_flight(self.launch, ("--case", str(case))):
            return self._served.verdict_on(case, checks, calls, REPEAT_SECONDS, self.launch.only)

    def ask_file(self, path: Path, calls: int = 1, patience: float = 0.0) -> Verdict:
        """The verdict on the problem that a file holds."""
        with in_flight(self.launch, (f"--problem={path}",)):
            return self._served.verdict_on_file(str(path), calls, REPEAT_SECONDS)

    def ask_steps(self, steps: Sequence[Step], budget: float = math.inf) -> Verdict:
        """The verdict on a history."""

        def note(message: dict) -> None:
            self.reached = message["at"]

        self.reached = 0
        line = BETWEEN.join(step.text for step in steps)
        with in_flight(self.launch, ("--steps", line)):
            return self._served.verdict_on_steps(line, budget, note)

    def look(
        self, task: str, case: Case, check: str = "value", seconds: float | None = None
    ) -> dict:
        """A closer look at a case's shape, see `Served.look`."""
        return self._served.look(task, case, check, seconds)

    def stop(self) -> None:
        """Nothing to end."""

    end = stop
