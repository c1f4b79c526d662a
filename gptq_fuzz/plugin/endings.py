"""How a run ends before its time: by a signal, or by a kernel that ends the process it shares."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM prints what is known, as Ctrl-C does, unless somebody else handles it."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(*_signal):
        raise KeyboardInterrupt("SIGTERM")

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


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
