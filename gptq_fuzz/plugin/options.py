"""The options of the suite: short names for the command and the checkout, one prefix for guests."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from types import SimpleNamespace

from gptq_fuzz.fingerprint.store import DEFAULT_FILE
from gptq_fuzz.worker.loader import BUILT_IN
from gptq_fuzz.worker.supervisor import DEFAULT_TIMEOUT

PREFIX = "gptq-fuzz-"  # of the options inside another project's run
LONGEST = 1e6  # seconds, eleven days: a system can wait for that, and for thirty times as long


def seconds(text: str) -> float:
    """A time limit from the command line: a number above 0, up to LONGEST."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= LONGEST:
        wanted = f"a number of seconds above 0, at most {LONGEST:g}"
        raise argparse.ArgumentTypeError(f"wanted {wanted}, got {text!r}")
    return value


# Markers of tests that run only when asked for, and alone
ALONE = ("fingerprint", "given_case", "given_problem", "given_steps", "fuzz")
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
TITLE = "kernels under test"
# Name -> its arguments in argparse. In `config.option` each is `gptq_fuzz_<name>`.
OPTIONS: dict[str, dict] = {
    "kernel": {
        "action": "append",
        "metavar": "SPEC",
        "default": [],
        "help": f"{', '.join(BUILT_IN)}, package.module:attribute or path.py:attribute; repeatable",
    },
    "case": {"action": "append", "metavar": "LINE", "default": [], "help": "judge this case alone"},
    "problem": {
        "action": "append",
        "metavar": "FILE",
        "default": [],
        "help": "judge on the tensors that gptq_fuzz.save_problem stored there",
    },
    "only": {
        "metavar": "TOKENS",
        "default": "",
        "help": "draw and promise only these, e.g. b4-g128-seq",
    },
    "steps": {
        "action": "append",
        "metavar": "LINE",
        "default": [],
        "help": "judge this history of the kernel alone (none named: a test's state machine)",
    },
    "corpus": {
        "action": "append",
        "metavar": "FILE",
        "default": [],
        "help": "replay these lines too",
    },
    "budget": {"type": seconds, "metavar": "SECONDS", "help": "fuzz for so long, and nothing else"},
    "keep-going": {
        "action": "store_true",
        "default": False,
        "help": "with --budget: go on after a finding, one for each kind and explanation",
    },
    "fingerprint": {
        "nargs": "?",
        "const": DEFAULT_FILE,
        "metavar": "FILE",
        "help": f"find out how the kernels compute, compare with FILE (default {DEFAULT_FILE}; in "
        f"a checkout, for built-in kernels, the package's own)",
    },
    "timeout": {
        "type": seconds,
        "metavar": "SECONDS",
        "default": DEFAULT_TIMEOUT,
        "help": f"for one call, compilation not counted (default {DEFAULT_TIMEOUT:g})",
    },
    "device": {"metavar": "DEVICE", "help": "cuda:1 or cpu (default: the first GPU, else cpu)"},
    "python": {
        "metavar": "PATH",
        "default": sys.executable,
        "help": "interpreter of the worker (default: this one)",
    },
    "known": {"metavar": "FILE", "help": "known failures, each naming its issue"},
    "json": {"metavar": "FILE", "help": "write verdicts, findings and coverage there"},
    "html": {"metavar": "FILE", "help": "write them as a page for a browser"},
    "store": {
        "metavar": "URL",
        "help": "judge first what that store knows of the kernels, add what is found: a folder, "
        "s3://, gs://, sftp://",
    },
    "sanitizer": {
        "metavar": "TOOL",
        "choices": SANITIZERS,
        "default": "",
        "help": f"run the worker under compute-sanitizer: {', '.join(SANITIZERS)}",
    },
    "called-as": {
        "metavar": "WORDS",
        "default": "",
        "help": argparse.SUPPRESS,  # how reproduce lines of this run begin
    },
    "in-process": {
        "action": "store_true",
        "default": False,
        "help": "no worker process, for debuggers",
    },
}


def destination(name: str) -> str:
    """Where `config.option` keeps an option, whichever name it was given by."""
    return "gptq_fuzz_" + name.replace("-", "_")


def add_options(parser, prefix: str = "") -> None:
    """Add every option to pytest's parser, as `--kernel` or, with PREFIX, `--gptq-fuzz-kernel`."""
    group = parser.getgroup("gptq-fuzz", TITLE)
    for name, arguments in OPTIONS.items():
        # A name that another plug-in has is left to it.
        with contextlib.suppress(ValueError):
            group.addoption(f"--{prefix}{name}", dest=destination(name), **arguments)


def asked_of(config) -> SimpleNamespace:
    """The options of a run: `.kernel`, `.case`, `.in_process`, ... by whichever names they came."""
    values = {name: getattr(config.option, destination(name)) for name in OPTIONS}
    return SimpleNamespace(**{name.replace("-", "_"): value for name, value in values.items()})


def runs_alone(asked: SimpleNamespace) -> str | None:
    """The marker, of ALONE, of the tests that these options ask for and that then run alone."""
    given = (asked.fingerprint, asked.case, asked.problem, asked.steps, asked.budget)
    return next((mark for mark, value in zip(ALONE, given, strict=True) if value), None)


def is_about_kernels(asked: SimpleNamespace) -> bool:
    """Whether nothing but kernels is asked for: not a checkout's own tests."""
    return bool(asked.called_as or asked.kernel or asked.case or asked.problem or asked.budget)
