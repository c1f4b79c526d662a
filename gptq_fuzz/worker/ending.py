"""What a worker started ends with it, and all of it with the run: also where the run is killed.

A kernel's own processes may leave the worker's session; the environment that they were started with
still names the worker.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

MARK = "GPTQ_FUZZ_WORKER"  # environment variable


def end_all(mark: str, group: int) -> None:
    """Kill the processes of a group, and those that were started with this mark."""
    for process in _marked(mark):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _marked(mark: str) -> Iterator[int]:
    """Of the processes that can be looked at, but this one."""
    wanted, own = f"{MARK}={mark}\0".encode(), os.getpid()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as environment:
            if int(name) != own and wanted in environment.read():
                yield int(name)


def end_with(alive: int) -> None:
    """Fork a process that ends this one, and all others of its mark, once the other end of the
    pipe `alive` is closed: whoever held it has ended, by whatever.
    """
    if os.fork():
        os.close(alive)
        return
    try:
        os.closerange(0, alive)
        os.closerange(alive + 1, 2**20)
        os.read(alive, 1)
        end_all(os.environ[MARK], os.getpgid(0))
    finally:
        os._exit(0)
