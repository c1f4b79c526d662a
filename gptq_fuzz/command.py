"""The command `gptq-fuzz`, which is pytest underneath, and how it is written where it is printed."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

from gptq_fuzz._checkout import IS_CHECKOUT, PACKAGE, ROOT
from gptq_fuzz.plugin.options import OPTIONS

USAGE = """\
gptq-fuzz [--kernel SPEC ...] [options]     put kernels under the suite
       gptq-fuzz fingerprint [--kernel SPEC ...]   find out how they compute
       gptq-fuzz bench [options]                   time the kernels of the package"""
EPILOG = """\
Every option of pytest and its plug-ins works too: -x, -n 4, -k TEXT, --junitxml FILE,
--hypothesis-seed N, --hypothesis-profile dev|pr|nightly. Exit status: 0, all passed; 1, something
was found; 4, a wrong option or nothing that could be judged."""
# Of a run of ours only its own settings count, whatever folder it is started in.
SETTINGS = ("-c", str(PACKAGE / "plugin" / "pytest.ini"), "-p", "gptq_fuzz.plugin.command")
LEFT_OUT = ("-p", "no:timeout", "-p", "no:cacheprovider")  # a case has a time-out, and no folder
SUITE = PACKAGE / "conformance"
BENCH = PACKAGE / "bench"


def main(words: list[str] | None = None) -> int:
    """Run the command with `words` (default: of this process); gives the exit status."""
    words = list(sys.argv[1:] if words is None else words)
    if words and words[0] in ("-h", "--help"):
        sys.stdout.write(_parser().format_help())
        return 0
    import pytest

    # Hypothesis keeps what it finds out about the machine there, not in a user's folder.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "gptq-fuzz")
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(cache / "hypothesis"))
    return int(pytest.main([*_settings(words), *_translated(words)]))


def _settings(words: list[str]) -> list[str]:
    suite = BENCH if words[:1] == ["bench"] else SUITE
    places = [f"--rootdir={Path.cwd()}", f"--confcutdir={suite}"]
    return [*SETTINGS, *LEFT_OUT, *places, f"--called-as={shlex.join(command_words())}"]


def _translated(words: list[str]) -> list[str]:
    if words[:1] == ["bench"]:
        plugin = ["-p", "gptq_fuzz.bench.plugin"]
        return [*plugin, *words[1:], str(BENCH / "bench_matmul.py")]
    if words[:1] == ["fingerprint"]:
        words = ["--fingerprint", *words[1:]]
    return [*words, str(SUITE / "test_conformance.py")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "gptq-fuzz",
        usage=USAGE,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, told in OPTIONS.items():
        parser.add_argument(f"--{name}", **told)
    return parser


def python_word() -> str:
    """What a shell calls this interpreter: `python`, `python3`, else its path."""
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and Path(found).parent == Path(sys.executable).parent:
            return name
    return sys.executable


def command_words() -> list[str]:
    """The words before the options of a command that starts the suite again from this folder."""
    script = shutil.which("gptq-fuzz")
    if script and Path(script).parent == Path(sys.executable).parent:
        return ["gptq-fuzz"]
    if not IS_CHECKOUT or Path.cwd() == ROOT:
        return [python_word(), "-m", "gptq_fuzz"]
    return [python_word(), str(PACKAGE)]
