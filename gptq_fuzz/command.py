"""The command `gptq-fuzz`: pytest underneath, with settings of its own."""

from __future__ import annotations

import argparse
import difflib
import importlib
import io
import os
import shlex
import sys
from importlib.util import find_spec

from gptq_fuzz._checkout import PACKAGE
from gptq_fuzz.case.environment import hypothesis_home
from gptq_fuzz.plugin.options import OPTIONS
from gptq_fuzz.search.called_as import command_words

USAGE = """\
gptq-fuzz [--kernel SPEC ...] [options]     put kernels under the suite
       gptq-fuzz kernels                           list those that have a name here
       gptq-fuzz fingerprint [--kernel SPEC ...]   find out how they compute
       gptq-fuzz bench [options]                   time the kernels of the package
       gptq-fuzz campaign [options]                judge them on many GPUs and machines
       gptq-fuzz store list|merge|replay           what campaigns have found
       gptq-fuzz report [--store URL]              the same as one page of HTML
       gptq-fuzz bisect LINE --good REV            the first commit at which a line fails"""
EPILOG = """\
Every option of pytest and its plug-ins works too: -x, -n 4, -k TEXT, --junitxml FILE,
--hypothesis-seed N, --hypothesis-profile dev|pr|nightly. Exit status: 0, all passed; 1, something
was found; 2, interrupted; 4, a wrong option or nothing that could be judged."""
# Of a run of ours only its own settings count, whatever folder it is started in.
SETTINGS = ("-c", str(PACKAGE / "plugin" / "pytest.ini"), "-p", "gptq_fuzz.plugin.command")
# A case has a time-out of its own, and a user's folder gets no cache and no storage.
LEFT_OUT = ("-p", "no:timeout", "-p", "no:cacheprovider")
UNTIMED = ("-p", "no:benchmark")
TIMING = ("pytest_benchmark", "scipy", "triton")
# A whole run is shared out among so many processes at most, each with a worker of its own. Not one
# that asks for a part, wants the first failure in order, or says itself how it is run.
SIDE_BY_SIDE = 4
BY_LETTER = ("-n", "-k", "-m")  # with or without a space before the value
ALONE = ("--case", "--steps", "--problem", "--budget", "--fingerprint", "-x", "--exitfirst",
         "--maxfail", "--in-process", "--sanitizer", "--numprocesses", "--dist", "--tx", "no:xdist",
         "-s", "--capture", "--pdb", "--trace", "--co", "--collect-only", "--fixtures", "--markers",
         "--version", "-V")  # fmt: skip
# Sub-command -> its module, the extra that brings what it needs, and that
COMMANDS = {
    "campaign": ("gptq_fuzz.campaign.command", "campaign", ("dask", "distributed", "fsspec")),
    "store": ("gptq_fuzz.store.command", "campaign", ("fsspec",)),
    "report": ("gptq_fuzz.report.command", "report", ("fsspec", "jinja2")),
    "bisect": ("gptq_fuzz.campaign.bisect", "campaign", ("fsspec",)),
    "kernels": ("gptq_fuzz.worker.listing", "", ()),
}
SUITE = PACKAGE / "conformance"
BENCH = PACKAGE / "bench"


def main(words: list[str] | None = None) -> int:
    """Run the command with `words` (default: of this process); gives the exit status."""
    if words is None:
        words = sys.argv[1:]
        if isinstance(sys.stdout, io.TextIOWrapper):
            # The bytes of a name go out as they came in, whatever encoding output was set to.
            sys.stdout.reconfigure(errors="surrogateescape")
    words = list(words)
    if words and words[0] in ("-h", "--help"):
        sys.stdout.write(_parser().format_help())
        return 0
    if words and words[0] in COMMANDS:
        return _other(*words)
    if words[:1] == ["bench"] and (missing := [name for name in TIMING if not find_spec(name)]):
        sys.stderr.write(f"gptq-fuzz bench wants {', '.join(missing)}: install gptq-fuzz[bench]\n")
        return 4
    import pytest

    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(hypothesis_home()))
    status = int(pytest.main([*_settings(words), *_translated(words)]))
    if status == pytest.ExitCode.USAGE_ERROR:
        sys.stderr.write("".join(_meant(word) for word in words if word.startswith("--")))
    return status


def _meant(word: str) -> str:
    """A line about an option that is nearly one of ours."""
    name = word.partition("=")[0][2:]
    near = difflib.get_close_matches(name, OPTIONS, 1, cutoff=0.7)
    if name in OPTIONS or not near:
        return ""
    return f"gptq-fuzz: there is no option --{name}; did you mean --{near[0]}?\n"


def _other(name: str, *words: str) -> int:
    """Run a sub-command that is no run of pytest."""
    module, extra, needed = COMMANDS[name]
    if missing := [one for one in needed if not find_spec(one)]:
        sys.stderr.write(f"gptq-fuzz {name} wants {', '.join(missing)}: ")
        sys.stderr.write(f"install gptq-fuzz[{extra}]\n")
        return 4
    return importlib.import_module(module).main(list(words))


def _settings(words: list[str]) -> list[str]:
    # "." and no path: pytest expands variables in it, and a folder may be called $HOME.
    settings = [*SETTINGS, *LEFT_OUT, "--rootdir=."]
    if words[:1] == ["bench"]:
        return [*settings, f"--confcutdir={BENCH}"]
    return [*settings, f"--confcutdir={SUITE}", f"--called-as={shlex.join(command_words())}"]


def _translated(words: list[str]) -> list[str]:
    if words[:1] == ["bench"]:
        plugin = ["-p", "gptq_fuzz.bench.plugin"]
        # First: the last option may have a value, or none
        return [*plugin, str(BENCH / "bench_matmul.py"), *words[1:]]
    if words[:1] == ["fingerprint"]:
        words = ["--fingerprint", *words[1:]]
    if words[-1:] == ["--fingerprint"]:  # what comes next is no value of it
        words = [*words[:-1], f"--fingerprint={OPTIONS['fingerprint']['const']}"]
    return [*UNTIMED, *_side_by_side(words), *words, str(SUITE / "test_conformance.py")]


def _side_by_side(words: list[str]) -> list[str]:
    """What shares a whole run out among cores; nothing where it is a part of such a run."""
    cores = len(os.sched_getaffinity(0))
    asked = any(word.startswith(BY_LETTER) or word.partition("=")[0] in ALONE for word in words)
    if asked or cores < 2 or "PYTEST_XDIST_WORKER" in os.environ:
        return []
    return ["-n", str(min(cores, SIDE_BY_SIDE)), "--dist", "worksteal"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "gptq-fuzz",
        usage=USAGE,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, settings in OPTIONS.items():
        parser.add_argument(f"--{name}", **settings)
    return parser
