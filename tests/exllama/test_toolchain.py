"""What the extension's compiler is told, by compilers that only pretend to be some."""

import fcntl
import types

import pytest

from kernels.exllama import build as exllama_build
from kernels.exllama.toolchain import POISONED_LOCALS, host_recipe

PRETENDER = """#!/bin/sh
case "$*" in
  *{flag}*) exit {status} ;;
esac
echo a compiler
"""


@pytest.fixture
def pretender(tmp_path, monkeypatch):
    """A function that makes CXX a compiler which ends with `status` where it is given `flag`."""

    def make(flag, status):
        path = tmp_path / f"c++{status}"  # answers are kept by the name of the command
        path.write_text(PRETENDER.format(flag=flag, status=status))
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        return str(path)

    return make


@pytest.mark.parametrize(("status", "given"), [(0, True), (1, False), (4, False)])
def test_locals_are_poisoned_where_the_compiler_can(pretender, status, given):
    """What a kernel forgets to zero must not be zero by chance."""
    compiler = pretender(POISONED_LOCALS, status)
    command = host_recipe().compile[".cpp"]
    assert command[0] == compiler
    assert (POISONED_LOCALS in command) == given


def test_a_file_system_without_locks_holds_nobody_up(tmp_path, monkeypatch):
    def no_locks(file, kind):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    entered = []
    with exllama_build._turn(tmp_path / "a.so", types.SimpleNamespace(what="a library")):
        entered.append(True)
    assert entered
