"""An exception that another thread raises in the main one, wherever that waits, as Ctrl-C does."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from gptq_fuzz.oracle.each_operator import EachOperator

AT_REST = 0.02  # seconds between two looks at the main thread
SAME_SLEEP = 2  # looks, one after another, at which nothing has woken it since: it waits
MOST_LOOKS = 25
GOES_ON = 1.0  # seconds, after which a thread goes on though nothing was raised in the main one
PATIENCE = 10, 0.3  # looks, and seconds between them, after which something is taken to hang
ONCE_MORE = 0.1  # seconds after which what still hangs is interrupted again


class Stuck(BaseException):
    """What is raised where something hangs."""


class InMainThread:
    """Here `interrupt()` raises `problem` in the main thread; the handler of SIGINT is lent."""

    def __init__(self, problem: type[BaseException]):
        self.problem = problem
        self._is_open, self._sending = False, threading.Lock()
        self._is_raised = threading.Event()

    @staticmethod
    def can_be() -> bool:
        """Whether this is the main thread, and the handler can be put back."""
        is_main = threading.current_thread() is threading.main_thread()
        return is_main and signal.getsignal(signal.SIGINT) is not None

    def __enter__(self) -> InMainThread:
        self._before = signal.signal(signal.SIGINT, self._handle)
        self._is_open = True
        return self

    def __exit__(self, *_problem) -> None:
        self._is_open = False
        with self._sending:  # one that is under way arrives here, where it raises nothing
            signal.signal(signal.SIGINT, self._before)

    def interrupt(self) -> None:
        with self._sending:
            if self._is_open:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def _handle(self, _number, _frame) -> None:
        if self._is_open:
            self._is_raised.set()
            raise self.problem

    def interrupt_where_it_waits(self) -> None:
        """Of another thread, which goes on once that is done, or where the main one never waits."""
        if self._is_open and _comes_to_rest(threading.main_thread().native_id):
            self.interrupt()
            self._is_raised.wait(GOES_ON)


def _comes_to_rest(thread: int) -> bool:
    """Whether a thread of this number sleeps for a while, now or soon: one that waits for Python's
    lock wakes up again and again. Never where the system does not tell.
    """
    before, same = None, 0
    for _ in range(MOST_LOOKS):
        sleeps = _sleeps(thread)
        same = same + 1 if sleeps and sleeps == before else 0
        if same == SAME_SLEEP:
            return True
        before = sleeps
        time.sleep(AT_REST)
    return False


def _sleeps(thread: int) -> list[str]:
    """Of one that sleeps how often it has been woken, as Linux has it; else nothing.

    The frames of other threads would say where it is, but asking for them may not end in Python
    before 3.11.9 (gh-106883).
    """
    try:
        status = Path(f"/proc/self/task/{thread}/status").read_text()
    except OSError:
        return []
    if not re.search(r"^State:\tS", status, re.M):
        return []
    return re.findall(r"^.*ctxt_switches:.*$", status, re.M)


class InterruptsAt(EachOperator):
    """At the operator of that number, of another thread, the main one is interrupted where it
    waits.
    """

    def __init__(self, number: int, main: InMainThread):
        super().__init__()
        self.left, self.main = number, main

    def before(self, operator) -> None:
        self.left -= 1
        if self.left == 0:
            self.main.interrupt_where_it_waits()


@contextlib.contextmanager
def unstuck() -> Iterator[list[type[Stuck]]]:
    """What the main thread does here ends, though it waits for what never comes: then the list that
    it is given is not empty. Elsewhere it may hang.
    """
    hung: list[type[Stuck]] = []
    if not InMainThread.can_be():
        yield hung
        return
    is_over, usual = threading.Event(), sys.unraisablehook

    def watch() -> None:
        looks, pause = PATIENCE
        for _ in range(looks):  # several: all threads of a process may have been held up at once
            if is_over.wait(pause):
                return
        hung.append(Stuck)
        while not is_over.is_set():
            raised.interrupt()
            is_over.wait(ONCE_MORE)

    def hook(unraisable) -> None:
        if unraisable.exc_type is not Stuck:
            usual(unraisable)

    watcher = threading.Thread(target=watch, daemon=True)
    sys.unraisablehook = hook  # where finalisers end, Python only prints what they raised
    try:
        with contextlib.suppress(Stuck), InMainThread(Stuck) as raised:
            watcher.start()
            yield hung
    finally:
        is_over.set()
        watcher.join()
        sys.unraisablehook = usual
