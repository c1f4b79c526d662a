"""How soon a faulty kernel is told: the seconds of a run, and their median and worst."""

import pytest
from rich.console import Console

from tests.museum.catalogue import faulty
from tests.speed import measured, summary, table_of
from tests.suite.session import KernelUnderTest, Session
from tests.suite.supervisor import Launch

RUNS = {
    "slow": {"first_failure": 4.0, "first_finding": 9.0, "ended": 10.0},
    "quick": {"first_failure": 0.5, "first_finding": 3.0, "ended": 4.0},
    "unshrunk": {"first_failure": 1.0, "first_finding": None, "ended": 20.0},
    "missed": {"first_failure": None, "first_finding": None, "ended": 30.0},
}


def test_a_run_over_a_faulty_kernel_tells_when_it_was_caught():
    (exhibit,) = [e for e in faulty() if e.name == "zero_not_wrapped"]
    run = measured(exhibit.spec)
    assert 0 < run["first_failure"] < run["first_finding"] < run["ended"]
    assert run["verdicts"]["WRONG"] > 0


def test_a_kernel_that_cannot_run_is_no_figure():
    with pytest.raises(RuntimeError, match=r"no_such_file\.py"):
        measured("no_such_file.py:f")


def test_median_and_worst_are_over_the_runs_that_have_them():
    assert summary(RUNS) == {
        "first_failure": {"median": 1.0, "worst": 4.0, "of": 3},
        "first_finding": {"median": 6.0, "worst": 9.0, "of": 2},
    }


def test_the_table_ends_with_what_was_missed():
    console = Console(width=100)
    with console.capture() as text:
        console.print(table_of(RUNS))
    names = [line.split()[0] for line in text.get().splitlines()]
    assert names == ["kernel", "quick", "unshrunk", "slow", "missed"]


def test_nothing_failed_before_the_tests_were_known():
    session = Session(kernels={"f": KernelUnderTest(Launch("f", "."))})
    assert session.since_collection(5.0) is None
    session.collected_at = 2.0
    assert session.since_collection(None) is None
    assert session.since_collection(5.0) == 3.0
