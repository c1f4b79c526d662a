"""A limit on what this process computes itself: a case drawn, a list built, a failure made smaller.

A worker has a time-out for each case; a loop of ours that did not end would be silence. What counts
is processor time of this process: waiting for a worker and a busy machine cost none, and SIGALRM,
which others end their tests by, stays theirs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import signal
import threading
import types
from collections.abc import Iterator

from gptq_fuzz.case.backend import Limits

OWN_SECONDS = 60.0  # what any stage takes on a slow machine, many times over
SOON = 0.01  # a callback of the garbage collector, Hypothesis has one, is over by then


class TookTooLong(BaseException):
    """A stage was ended; the message says which, after how long, within which limits.

    No Exception: Hypothesis would take that for a failing case, and draw it again and again.
    """


@contextlib.contextmanager
def own_time(stage: str, limits: Limits, seconds: float = OWN_SECONDS) -> Iterator[None]:
    """Raise TookTooLong where the block computes for longer than that.

    Not inside another such block, which counts for both, nor outside the main thread, on a system
    without this timer, or where somebody else has a handler for its signal.
    """
    if not _is_free():
        yield
        return

    def ring(_number, frame):
        if _is_in_a_callback_of_gc(frame):
            signal.setitimer(signal.ITIMER_VIRTUAL, SOON, 1.0)
            return
        raise TookTooLong(
            f"{stage} took this process more than {seconds:g} s of processor time and was ended; "
            f"the kernel's limits: {in_words(limits)}"
        )

    with contextlib.ExitStack() as undo:
        undo.callback(signal.signal, signal.SIGVTALRM, signal.signal(signal.SIGVTALRM, ring))
        undo.callback(signal.setitimer, signal.ITIMER_VIRTUAL, 0)
        # Again each second: what is raised inside a `__del__` is lost.
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 1.0)
        yield


def _is_free() -> bool:
    is_main = threading.current_thread() is threading.main_thread()
    return (
        is_main
        and hasattr(signal, "setitimer")
        and signal.getsignal(signal.SIGVTALRM) is signal.SIG_DFL
    )


def _is_in_a_callback_of_gc(frame: types.FrameType | None) -> bool:
    """What is raised there is lost, and a warning is left: an error where a host wants that."""
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None and frame.f_code not in callbacks:
        frame = frame.f_back
    return frame is not None


def in_words(limits: Limits) -> str:
    """The fields that differ from their defaults: `n_multiple=32, max_tiles=128`."""
    told = [
        f"{field.name}={value!r}"
        for field in dataclasses.fields(limits)
        if (value := getattr(limits, field.name)) != field.default
    ]
    return ", ".join(told) or "the default ones"
