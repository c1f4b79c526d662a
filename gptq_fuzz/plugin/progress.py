"""What takes longer than some seconds is told of while it lasts, to whoever looks at a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from gptq_fuzz._checkout import PACKAGE
from gptq_fuzz.worker.supervisor import QUIET_START

FUZZ = "fuzz"  # marker of a test that shows itself


class Progress:
    """A line after QUIET_START seconds of one stage, and each time that these have doubled."""

    def __init__(self, asked: Callable[[], list[str]]):
        self._asked = asked
        self._terminal = os.dup(sys.__stdout__.fileno())  # before tests' output is captured

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self):
        with self._told("listing cases"):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        if PACKAGE not in item.path.parents or item.get_closest_marker(FUZZ):
            return (yield)
        with self._told(item.name):
            return (yield)

    def pytest_unconfigure(self):
        os.close(self._terminal)

    @contextlib.contextmanager
    def _told(self, stage: str) -> Iterator[None]:
        done = threading.Event()
        thread = threading.Thread(target=self._tell, args=(stage, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _tell(self, stage: str, done: threading.Event) -> None:
        waited, until = 0.0, QUIET_START
        while not done.wait(until - waited):
            waited, until = until, 2 * until
            line = "; ".join([f"gptq-fuzz: {stage}: {waited:g} s", *self._asked()])
            os.write(self._terminal, f"\n{line}\n".encode(errors="surrogateescape"))
