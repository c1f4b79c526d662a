"""Runs a function over many inputs in processes of their own, any of which may die."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection
from typing import Any, NamedTuple

END = object()
LAST_WORDS = 200  # characters of what a process wrote before it died


class Worker(NamedTuple):
    """A process, our end of the pipe to it, and the file that holds what it writes."""

    process: multiprocessing.Process
    pipe: connection.Connection
    log: Any

    def retire(self) -> None:
        """A living process ends where its pipe does."""
        self.pipe.close()
        self.log.close()


class Raised(NamedTuple):
    """An exception in a worker; its traceback, since not every exception can be sent."""

    text: str


def run_all(function: Callable, inputs: Iterable, count: int) -> Iterator[tuple[Any, Any]]:
    """(input, function(input)) as they finish, from at most `count` processes at a time.

    A ChildProcessError stands for the result where a process dies. What `function` raises ends
    everything, as a RuntimeError.
    """
    # Forks of a server that has imported the function's module and done nothing else: they start
    # at once, and inherit no thread of ours.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    todo, busy = iter(inputs), {}

    def give(given, worker=None):
        worker = worker or _started(context, function)
        worker.pipe.send(given)
        busy[worker.pipe] = (worker, given)

    try:
        for given in itertools.islice(todo, count):
            give(given)
        while busy:
            for pipe in connection.wait(busy):
                worker, given = busy.pop(pipe)
                result = _received(worker)
                following, alive = next(todo, END), worker.process.is_alive()
                if following is END or not alive:
                    worker.retire()
                if following is not END:
                    give(following, worker if alive else None)
                yield given, result
    finally:
        for worker, _ in busy.values():
            worker.process.kill()
            worker.retire()


def _started(context, function) -> Worker:
    log = tempfile.NamedTemporaryFile(suffix=".log")  # noqa: SIM115 lives as long as the worker
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(function, theirs, log.name), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours, log)


def _work(function, pipe, log) -> None:
    """Answer until the other end is closed."""
    # By descriptor, as compilers write there: they print whole sources when they fail.
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    while True:
        try:
            given = pipe.recv()
        except EOFError:
            return
        try:
            answer = function(given)
        except Exception:  # noqa: BLE001 whatever it is, the parent raises it
            answer = Raised(traceback.format_exc())
        pipe.send(answer)


def _received(worker: Worker) -> Any:
    try:
        answer = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        words = " ".join(worker.log.read().decode(errors="replace").split())[-LAST_WORDS:]
        return ChildProcessError(f"exit status {worker.process.exitcode} {words}".rstrip())
    if isinstance(answer, Raised):
        raise RuntimeError(answer.text)
    return answer
