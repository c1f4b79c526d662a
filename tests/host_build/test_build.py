"""The host build by itself: every function of its header against its definition, without torch."""

import re
import subprocess

import pytest

from tests.host_build import programs

pytestmark = [programs.needs_compiler, pytest.mark.turns(2)]
INTRINSICS, MACHINE, RUNNER = "intrinsics.cu", "machine.cpp", "runner.cu"
CHECKS = [
    (name, check) for name in (INTRINSICS, MACHINE) for check in programs.names_of_checks(name)
]
CONDITION = re.compile(r"^\s*#\s*(if|elif|ifdef|ifndef)\b", re.MULTILINE)
FLAGS = []
ORDERS = ("forward", "reverse", "random-7")


@pytest.mark.bug("AC-02 L-48")
@pytest.mark.parametrize(("source", "check"), CHECKS, ids=[check for _, check in CHECKS])
def test_the_header_does_what_it_documents(built, source, check):
    """A barrier that not all threads reach is reported, and so is a missing one."""
    ended = programs.run(built(source), check)
    assert ended.stdout == f"ok {check}\n", ended.stdout + ended.stderr


def test_each_check_is_registered(built):
    for source in (INTRINSICS, MACHINE):
        listed = programs.run(built(source), "list").stdout.split()
        assert listed == programs.names_of_checks(source)


@pytest.mark.parametrize("order", ORDERS)
def test_intrinsics_do_not_depend_on_the_order(built, order):
    ended = programs.run(built(INTRINSICS), threads=1, EXLLAMA_HOST_ORDER=order)
    assert ended.returncode == 0, ended.stdout


def test_an_unknown_order_is_refused(built):
    ended = programs.run(built(RUNNER), "fuzz", 0, 1, EXLLAMA_HOST_ORDER="sideways")
    assert ended.returncode == 1
    assert "forward, reverse or random-SEED, got sideways" in ended.stdout + ended.stderr


@pytest.mark.parametrize("seed", [1, 10_000])
def test_drawn_problems_are_right(built, seed):
    ended = programs.run(built(RUNNER), "fuzz", 1, seed)
    assert ended.returncode == 0, ended.stdout


def test_a_store_outside_a_buffer_is_reported(built):
    ended = programs.run(built(RUNNER), "fault", "span")
    assert ended.returncode == 4
    assert "index 64 is outside a buffer of 64 elements, block (0, 0), thread 7" in ended.stderr


def test_only_the_device_header_asks_where_it_runs():
    for path in programs.KERNELS.glob("*.*"):
        asks = CONDITION.search(path.read_text())
        assert bool(asks) == (path.name == "device.h"), f"{path} has {asks}"


@pytest.mark.parametrize("unit", programs.UNITS)
def test_the_kernels_are_read_without_a_warning_under_the_sanitizers(unit):
    """`tox run -e sanitize` runs them; this is over in seconds."""
    flags = [*programs.COMMON, *programs.SANITIZERS, "-fsyntax-only", "-x", "c++"]
    command = [*programs.compiler(), *flags, str(programs.UNITS[unit])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
