"""Traps: a version of the code that stops where a mutant is."""

import pytest

from tests.mutants import cpp
from tests.mutants.reach import CPP_TRAP, trapped
from tests.mutants.sites import Mutant

PYTHON = """LIMIT = 4


@decorated(1)
def outer(a, b=None):
    def inner():
        return a
    return inner() + LIMIT
"""
CUDA = """constexpr int LIMIT = 4;

struct rows {
  int first = 0;
};

int add(int a, int b) {
  for (int i = 0; i < 4; i++) a += b;
  if (a > LIMIT) {
    return a;
  }
  return a + b;
}
"""


def trap(path, text, old, new):
    changed = text.replace(old, new, 1)
    assert changed != text
    found = trapped(Mutant("one", path, "known", 1, "", changed), text)
    return None if found is None else found.source


@pytest.mark.parametrize(
    ("old", "new", "before"),
    [
        ("return a\n", "return b\n", "        return a\n"),
        ("inner() +", "inner() -", "    def inner():\n"),
        ("b=None", "b=0", "    def inner():\n"),
        ("decorated(1)", "decorated(2)", "    def inner():\n"),
    ],
)
def test_the_innermost_function_of_a_python_file_raises(old, new, before):
    indent = before[: len(before) - len(before.lstrip())]
    wanted = PYTHON.replace(before, f"{indent}raise AssertionError\n{before}", 1)
    assert trap("kernels/a.py", PYTHON, old, new) == wanted


@pytest.mark.parametrize(
    "before", ["  for (int i", "  if (a > LIMIT", "    return a;", "  return a +"]
)
def test_the_statement_of_a_cuda_source_stops(before):
    made = trap("kernels/a.cu", CUDA, before, before.replace("a", "c").replace("i", "j"))
    place = made.index(CPP_TRAP)
    assert made.replace(f" {CPP_TRAP}", "") == CUDA
    assert not cpp.Source(made).code[place + len(CPP_TRAP) :].lstrip().startswith("}")
    assert made[place + len(CPP_TRAP) :].lstrip().startswith(before.strip())


@pytest.mark.parametrize(
    ("path", "text", "old", "new"),
    [
        ("kernels/a.py", PYTHON, "LIMIT = 4", "LIMIT = 5"),
        ("kernels/a.cu", CUDA, "LIMIT = 4", "LIMIT = 5"),
        ("kernels/a.cu", CUDA, "first = 0", "first = 1"),
    ],
)
def test_what_is_outside_of_functions_needs_no_trap(path, text, old, new):
    assert trap(path, text, old, new) is None
