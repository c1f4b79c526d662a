"""Wrong options, refused before anything is started: which, what was wanted, and what came."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptq_fuzz._checkout import IS_CHECKOUT


def require(asked, junit: str | None = None) -> None:
    """Raises UsageError for options that exclude each other, and for places that will not do.

    `junit` is what pytest's own option names, in a run about kernels.
    """
    _require_one_task(asked)
    # Without a kernel steps are those of a checkout's own tests, which the command does not run.
    if asked.steps and not asked.kernel and (asked.called_as or not IS_CHECKOUT):
        raise pytest.UsageError("--steps wants the kernel that takes them: --kernel SPEC")
    if shutil.which(asked.python) is None:
        raise pytest.UsageError(f"--python={asked.python}: wanted a Python interpreter")
    for option in ("json", "html"):
        if getattr(asked, option):
            _require_writable(option, Path(getattr(asked, option)))
    if junit:
        _require_writable("junitxml", Path(junit))
    if asked.json and asked.html and Path(asked.json).resolve() == Path(asked.html).resolve():
        raise pytest.UsageError(f"--json and --html={asked.html}: wanted two files")


@contextlib.contextmanager
def named(option: str, value: str | None) -> Iterator[None]:
    """What reading the file of an option raises becomes a UsageError that names the option."""
    try:
        yield
    except UnicodeDecodeError:
        raise pytest.UsageError(f"--{option}={value}: wanted a text file in UTF-8") from None
    except OSError as problem:
        raise pytest.UsageError(f"--{option}={value}: {problem.strerror}") from problem


def _require_one_task(asked) -> None:
    """Each of these runs alone: of two, one would be passed over. (--case shapes --fingerprint.)"""
    if asked.keep_going and not asked.budget:
        raise pytest.UsageError("--keep-going wants --budget: other runs end after three findings")
    given = [name for name in ("case", "problem", "steps", "budget") if getattr(asked, name)]
    given += ["fingerprint"] if asked.fingerprint and given != ["case"] else []
    if len(given) > 1:
        options = " and ".join(f"--{name}" for name in given)
        raise pytest.UsageError(f"{options} are runs of their own: give one of them")


def _require_writable(option: str, path: Path) -> None:
    """Now, not when everything has been judged, a report that cannot be written is refused."""
    if path.is_dir():
        raise pytest.UsageError(f"--{option}={path}: wanted a file, this is a folder")
    with named(option, str(path)):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(0, "it cannot be written")
        if not path.exists() or path.is_file():  # a file is replaced, a device or a pipe is not
            path.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path.parent).close()
