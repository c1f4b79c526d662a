"""Whole runs of pytest: each in a process of its own, or one after the other in one."""

import contextlib
import io
import json
import os
import subprocess
import sys

import pytest

from gptq_fuzz._checkout import ROOT

QUIET = ("-p", "no:cacheprovider")


def _environment(**more):
    """Without what this run was asked for by its environment."""
    ours = ("PYTEST_", "GITHUB_")
    return {key: one for key, one in os.environ.items() if not key.startswith(ours)} | more


def run_pytest(words, started_in=ROOT):
    """(exit status, all output)"""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *QUIET, *words],
        cwd=started_in, env=_environment(), text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return ran.returncode, ran.stdout


def run_many(questions, module="tests.runs", started_in=ROOT, **variables):
    """Name -> (exit status, all output), from one process: torch is imported once.

    A question is pytest's words, or what another `module` gives to `answer`.
    """
    ran = subprocess.run(
        [sys.executable, "-m", module],
        input=json.dumps(questions), stdout=subprocess.PIPE, text=True, check=True,
        cwd=started_in, env=_environment(PYTHONPATH=str(ROOT), **variables),
    )  # fmt: skip
    return json.loads(ran.stdout)


def answer(run):
    """The other side of `run_many`: `run(question)` gives the exit status."""
    answers, terminal = {}, os.dup(1)
    os.dup2(2, 1)  # what takes long is told of past sys.stdout
    for name, question in json.load(sys.stdin).items():
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
            status = run(question)
        answers[name] = int(status), out.getvalue()
    with os.fdopen(terminal, "w") as out:
        json.dump(answers, out)


if __name__ == "__main__":
    answer(pytest.main)
