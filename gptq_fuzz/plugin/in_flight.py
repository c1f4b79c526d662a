"""The line that each worker is judging, in a file: what to look at where a run did not end.

A run holds a lock on each of its files and removes them at its end. A file that nobody holds is
that of a run which was killed, or whose machine went down; the next run reads it.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shlex
import tempfile
from collections.abc import Iterable
from pathlib import Path

PATTERN = "in-flight-*.txt"


class InFlight:
    """The files of one run, in `folder`, or in a temporary one where that cannot be written to.

    A run goes on where neither can.
    """

    def __init__(self, folder: Path):
        self._wanted, self._folder = folder, folder
        self._held: dict[Path, int] = {}  # descriptors, which hold the locks
        self._numbers = itertools.count(1)

    def left_behind(self) -> list[str]:
        """The options that each file holds which nobody does; these files are removed."""
        return [text for path in sorted(self._wanted.glob(PATTERN)) if (text := _taken(path))]

    def new(self) -> str:
        """The path of another file, for one worker; "" where there is no place for one."""
        with contextlib.suppress(OSError):  # read-only, or full
            return str(self._created())
        with contextlib.suppress(OSError):
            self._folder = Path(tempfile.mkdtemp(prefix="gptq-fuzz-"))
            return str(self._created())
        return ""

    def _created(self) -> Path:
        self._folder.mkdir(exist_ok=True)
        while True:
            path = self._folder / f"in-flight-{os.getpid()}-{next(self._numbers)}.txt"
            with contextlib.suppress(FileExistsError):
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._held[path] = file
                return path

    def asked(self, processes: Iterable[int] = ()) -> list[str]:
        """The options that ask what is being judged now, here and by `processes` of this run."""
        theirs = [path for pid in processes for path in self._wanted.glob(f"in-flight-{pid}-*.txt")]
        return [text for path in (*self._held, *theirs) if (text := _text_of(path))]

    def close(self) -> None:
        """Remove all of them."""
        for path, file in self._held.items():
            with contextlib.suppress(OSError):  # it is read-only by now
                path.unlink(missing_ok=True)
            os.close(file)
        self._held.clear()
        if self._folder != self._wanted:
            with contextlib.suppress(OSError):
                self._folder.rmdir()


def _text_of(path: Path) -> str:
    """Nothing where somebody has cleaned up."""
    with contextlib.suppress(OSError):
        return path.read_text("utf-8", "surrogateescape").strip()
    return ""


def _taken(path: Path) -> str:
    """What a file holds that nobody does, which is removed; "" where somebody does."""
    try:
        with open(path, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = file.read().decode("utf-8", "surrogateescape").strip()
        path.unlink()
    except OSError:
        return ""
    return text


def offered(asked: str, called_as: tuple[str, ...], whose: str) -> str:
    """`gptq-fuzz: WHOSE was judging this: COMMAND`, of the options that a file held."""
    return f"gptq-fuzz: {whose} was judging this: {shlex.join(called_as)} {asked}"
