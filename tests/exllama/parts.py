"""What tests of the ExLlama extension share: a build, and a process to run steps in."""

import contextlib
import json
import select
import subprocess
import sys
from pathlib import Path

import pytest

from kernels.exllama.build import BuildFailed, CannotBuild, extension

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120  # for one step
DEVICES = ["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)]


def build_or_skip(device):
    """The extension for "cpu" or "cuda"; a missing tool skips the test, a failed build fails it."""
    try:
        return extension(device)
    except BuildFailed:
        raise
    except CannotBuild as problem:
        pytest.skip(f"cannot_build: {str(problem).splitlines()[0]}")


class Actor:
    """steps.py as a process; one that dies is reported, and started again."""

    def __init__(self, device):
        self.device, self.steps, self.process = device, [], None

    def begin(self):
        """A fresh extension."""
        self.steps = []
        self.ask({"device": self.device})

    def step(self, text):
        """Raises AssertionError with the line that shows it again."""
        self.steps.append(text)
        wrong = self.ask({"step": text})
        if wrong:
            line = "/".join(self.steps)
            pytest.fail(
                f"{wrong}\nreproduce: python -m pytest tests/exllama/test_states.py "
                f"--device {self.device} --steps {line}",
                pytrace=False,
            )

    def ask(self, message):
        """What was wrong, or None."""
        if self.process is None:
            command = [sys.executable, "-m", "tests.exllama.steps"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.process = subprocess.Popen(command, cwd=ROOT, **pipes)
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except OSError:
            return self.stop("the process died")
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        answer = self.process.stdout.readline() if ready else ""
        if not answer:
            return self.stop("the process died" if ready else "no answer")
        return json.loads(answer)

    def stop(self, why):
        """`why` and how the process ended; it is gone afterwards."""
        process, self.process = self.process, None
        if process is None:
            return why
        with contextlib.suppress(OSError):
            process.stdin.close()
        if why == "no answer":
            process.kill()
        process.wait(SECONDS)
        process.stdout.close()
        return f"{why}, exit status {process.returncode}"
