"""`--gpu`: tests that the ledger names see a mutant; what a machine cannot ask is said."""

import dataclasses

import pytest

from tests.mutants import gpu, record, report
from tests.mutants.ledger import GPU, Entry, read_ledger
from tests.mutants.listing import scored
from tests.mutants.score import BrokenBaseline, Trial
from tests.mutants.scratch import Tree
from tests.mutants.sites import mutants_of

CODE = "def add(a, b):\n    return a + b\n"
TESTS = """
import os
import pytest
from kernels.small import add

def test_sums():
    assert add(1, 2) == 3

def test_nothing():
    assert add

@pytest.mark.skip(reason="one_gpu")
def test_of_two():
    assert add(1, 2) == 3

def test_broken():
    assert not add

def test_ends_itself():
    if add(1, 2) != 3:
        os.abort()
"""


@pytest.fixture
def tree(tmp_path):
    for name, text in {"kernels/small.py": CODE, "tests/test_small.py": TESTS}.items():
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(text)
    tree = Tree(tmp_path)
    yield tree
    tree.remove()


def mutant():
    return next(m for m in mutants_of("kernels/small.py", CODE) if m.operator == "arithmetic")


def show(tree, test):
    ledger = {mutant().id: Entry(mutant().id, GPU, "why", f"tests/test_small.py::{test}")}
    steps = []
    (shown,) = gpu.show([mutant()], ledger, tree, 2, lambda *step: steps.append(step))
    assert steps == [(number, 2) for number in range(1, len(steps) + 1)]
    return shown


@pytest.mark.parametrize(
    ("test", "verdict", "where", "killed"),
    [
        ("test_sums", "FAILED", "tests.test_small::test_sums", True),
        ("test_ends_itself", "CRASHED", "", True),
        ("test_nothing", "", "", False),
        ("test_of_two", "SKIPPED", "one_gpu", False),
    ],
)
def test_it_is_told_what_the_tests_make_of_a_mutant(tree, test, verdict, where, killed):
    shown = show(tree, test)
    assert (shown.verdict, shown.where, shown.killed) == (verdict, where, killed)
    assert shown.tests == f"tests/test_small.py::{test}"


def test_tests_that_fail_without_a_mutant_show_nothing(tree):
    with pytest.raises(BrokenBaseline, match=r"::test_broken fails without any mutant: [\s\S]*F"):
        show(tree, "test_broken")


def test_a_run_that_takes_too_long_is_ended(tree, monkeypatch):
    monkeypatch.setattr(gpu, "SECONDS", 0.01)
    with pytest.raises(BrokenBaseline, match="test_sums fails"):
        show(tree, "test_sums")


def test_a_machine_that_cannot_ask_loses_nothing(tree, tmp_path):
    path = tmp_path / "record.json"
    killed, skipped = show(tree, "test_sums"), show(tree, "test_of_two")
    gpu.write([skipped], path)
    assert gpu.read(path) == [skipped]
    gpu.write([killed], path)
    gpu.write([skipped], path)
    assert gpu.read(path) == [killed]


def counted(monkeypatch, **changes):
    """The state of the mutant in the score, where a GPU's record has `changes`."""
    one, tests = mutant(), "tests/test_small.py"
    ledger = {one.id: Entry(one.id, GPU, "why", tests)}
    told = gpu.Shown(one.id, gpu.source_of(one), tests, "FAILED", "a::b", 1.0, "two GPUs")
    monkeypatch.setattr(gpu, "read", lambda: [dataclasses.replace(told, **changes)])
    there = gpu.killed_there([one], ledger)
    result = report.Result([Trial(one, [], [])], ledger, there)
    (state,) = record.states([one], result, {})
    return state["state"], result.score, report.exit_status(result)


def test_what_a_gpu_killed_counts(monkeypatch):
    assert counted(monkeypatch) == (record.ON_GPU, 1.0, 0)


@pytest.mark.parametrize(
    "changes", [{"source": "of before"}, {"tests": "other"}, {"verdict": ""}, {"id": "other"}]
)
def test_what_was_shown_of_something_else_does_not_count(monkeypatch, changes):
    assert counted(monkeypatch, **changes) == (GPU, 0.0, 0)


def test_the_section_tells_them_apart():
    made = [{"id": "a", "area": "cuda", "seconds": 9.0, "state": record.ON_GPU, "by": "tests/t.py"}]
    text = record.render(made)
    assert "0 killed, 1 more on a GPU, 0 equivalent, 0 that only a GPU can tell" in text
    assert "100.0%" in text
    assert "\n| cuda | 1 | 0 | 1 | 0 | 0 | 0 | 0 |  |\n" in text


def test_all_that_the_ledger_leaves_to_a_gpu_is_recorded_as_killed_there():
    wanted = {name for name, entry in read_ledger().items() if entry.kind == GPU}
    assert {one.id for one in gpu.read() if one.killed} == wanted
    assert wanted <= {mutant.id for mutant in scored()}
