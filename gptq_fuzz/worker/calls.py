"""When a kernel was called last, in memory that its process shares with whoever waits for it.

So a time limit is one call's, and nobody is told of calls that come in time. A first call may build
what later ones use, and `prepare` is there for what takes long: both have FIRST_TIMES as long.
"""

from __future__ import annotations

import dataclasses
import mmap
import os
import struct
import time

from gptq_fuzz.case.backend import Backend

FIRST_TIMES = 5
CALLED = ("prepare", "matmul", "run", "gradient")  # of a Backend
_FORM = struct.Struct("=d?")  # when the last call began or ended, and whether it is a first one


class Calls:
    """The parent's side; the worker is given `file`."""

    def __init__(self):
        self.file = os.memfd_create("gptq-fuzz-calls")
        os.ftruncate(self.file, _FORM.size)
        self.first_times = FIRST_TIMES

    def deadline(self, limit: float) -> float:
        """`time.monotonic()` when the call that goes on has had its time; what was no call, too."""
        at, is_first = _FORM.unpack(os.pread(self.file, _FORM.size, 0))
        return at + (self.first_times if is_first else 1) * limit

    @property
    def is_first(self) -> bool:
        """Of the call that goes on."""
        return _FORM.unpack(os.pread(self.file, _FORM.size, 0))[1]

    def close(self) -> None:
        os.close(self.file)


def noted(backend: Backend, file: int) -> Backend:
    """A Backend each of whose calls is noted there."""
    from torch.compiler import is_compiling

    shared, done = mmap.mmap(file, _FORM.size), set()

    def note(is_first: bool) -> None:
        _FORM.pack_into(shared, 0, time.monotonic(), is_first)

    def noting(name: str):
        function = getattr(backend, name)

        def call(*arguments, **options):
            if is_compiling():  # what is traced takes no time
                return function(*arguments, **options)
            note(name == "prepare" or name not in done)
            try:
                return function(*arguments, **options)
            finally:
                done.add(name)
                note(False)

        return call

    given = [name for name in CALLED if getattr(backend, name) is not None]
    return dataclasses.replace(backend, **{name: noting(name) for name in given})
