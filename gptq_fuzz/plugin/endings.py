"""How a run ends before its time: by a signal, or by a kernel that ends the process it shares."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

DEAF = 3.0  # seconds after a signal in which another one is taken for the same: time to report


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM prints what is known, as Ctrl-C does, unless somebody else handles them.

    Who ends a run often sends both, a moment apart: what is being printed is not broken off.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    is_main = threading.current_thread() is threading.main_thread()
    ours = [number for number, handler in usual.items() if signal.getsignal(number) is handler]
    if not is_main or signal.SIGTERM not in ours:
        yield
        return
    last = -DEAF

    def interrupt(number, _frame):
        nonlocal last
        now = time.monotonic()
        if now - last >= DEAF:
            last = now
            raise KeyboardInterrupt("SIGTERM" if number == signal.SIGTERM else "")

    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, usual[number])


@contextlib.contextmanager
def no_silent_exit(tell: Callable[[str], None]) -> Iterator[None]:
    """`os._exit` of this process is told of and is no success; a fork of it may end as it likes."""
    leave, owner = os._exit, os.getpid()

    def told(status: int) -> None:
        if os.getpid() == owner:
            tell(f"LOST: the kernel ended this process with os._exit({status})")
            status = status or 1
        leave(status)

    os._exit = told
    try:
        yield
    finally:
        os._exit = leave
