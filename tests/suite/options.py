"""The options that the suite adds to pytest's."""

from __future__ import annotations

import argparse
import contextlib
import sys

from .fingerprints import DEFAULT_FILE, OURS
from .session import DEFAULT_TIMEOUT

BUILT_IN = ("triton", "exllama", "torch")  # all that run when no --kernel is given
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")


def pytest_addoption(parser):
    """The options of the suite; those of Hypothesis, pytest-xdist and pytest stay theirs."""
    group = parser.getgroup("gptq-fuzz", "kernels under test")

    def add(name, **more):
        # Where pytest-timeout is installed, --timeout is there already; see the plug-in.
        with contextlib.suppress(ValueError, argparse.ArgumentError):
            group.addoption(name, **more)

    _add_what_runs(add)
    _add_how_it_runs(add)


def _add_what_runs(add) -> None:
    add(
        "--kernel",
        action="append",
        metavar="SPEC",
        default=[],
        help=f"{', '.join(BUILT_IN)}, package.module:attribute or path.py:attribute; repeatable",
    )
    add("--case", action="append", metavar="LINE", default=[], help="judge this case alone")
    add(
        "--only", metavar="TOKENS", default="", help="draw and promise only these, e.g. b4-g128-seq"
    )
    add("--steps", action="append", metavar="LINE", default=[], help="replay a state machine's run")
    add("--corpus", action="append", metavar="FILE", default=[], help="replay these lines too")
    add("--budget", type=float, metavar="SECONDS", help="fuzz for so long, and nothing else")
    add(
        "--fingerprint",
        nargs="?",
        const=DEFAULT_FILE,
        metavar="FILE",
        help=f"find out how the kernels compute, compare with FILE (built-in kernels: {OURS.name}; "
        f"others: {DEFAULT_FILE})",
    )


def _add_how_it_runs(add) -> None:
    add(
        "--timeout",
        type=float,
        metavar="SECONDS",
        default=None,
        help=f"for one case, compilation not counted (default {DEFAULT_TIMEOUT:g})",
    )
    add("--device", metavar="DEVICE", help="cuda:1 or cpu (default: the first GPU, else cpu)")
    add("--python", metavar="PATH", default=sys.executable, help="interpreter of the worker")
    add("--known", metavar="FILE", help="known failures, each naming its issue")
    add("--json", metavar="FILE", help="write verdicts, findings and coverage there")
    add(
        "--sanitizer",
        metavar="TOOL",
        choices=SANITIZERS,
        default="",
        help="run the worker under compute-sanitizer",
    )
    add("--in-process", action="store_true", help="no worker process, for debuggers")
