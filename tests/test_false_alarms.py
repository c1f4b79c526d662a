"""Correct kernels that round differently pass; `python -m tests.false_alarms` asks for far more."""

import pytest
import torch

from tests.false_alarms.chunk import Tally, judge_chunk, kernels, tall
from tests.false_alarms.run import STATE
from tests.false_alarms.state import State, ranges
from tests.false_alarms.table import README, TABLE, readme, render
from tests.suite.case import Case
from tests.suite.verdict import Verdict

SEEDS = range(6)  # of 50 cases each
CASES = 300

pytestmark = pytest.mark.museum


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As in a worker: small operations on several threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", kernels())
def test_a_correct_kernel_is_never_called_wrong(name, capfd):
    tally = Tally()
    for seed in SEEDS:
        tally.merge(judge_chunk(name, seed, talls=0))
    assert not tally.alarms
    assert tally.cases >= CASES


def test_a_run_goes_on_where_the_last_one_ended(tmp_path):
    path = tmp_path / "state.json"
    state = State(path, ["torch"])
    case = Case.parse("m3-n8-k64-b4-g32-randn")
    state.kernels["torch"].tally.add(case, Verdict("WRONG", str(case), "far off", used=0.25))
    state.kernels["torch"].seeds |= {0, 1, 3}
    state.save()
    again = State(path, ["torch"]).kernels["torch"]
    assert again == state.kernels["torch"]
    assert again.next_seed(running={2}) == 4
    assert (again.tally.cases, again.tally.elements, len(again.tally.alarms)) == (1, 24, 1)
    assert again.tally.used == {"randn": {"long": [0.25, str(case)]}}


def test_what_other_code_has_judged_does_not_count(tmp_path):
    path = tmp_path / "state.json"
    state = State(path, ["torch"])
    state.kernels["torch"].seeds.add(0)
    state.kernels["torch"].digest = "of other code"
    state.save()
    assert State(path, ["torch"]).kernels["torch"].seeds == set()


def test_other_kernels_of_the_file_are_kept(tmp_path):
    path = tmp_path / "state.json"
    for name in ("torch", "sequential"):
        state = State(path, [name])
        state.kernels[name].seeds |= {5}
        state.save()
    assert State(path, ["torch"]).kernels["torch"].seeds == {5}


def test_the_committed_tables_say_what_is_recorded():
    state = State(STATE, sorted(kernels()), current=False)
    assert TABLE.read_text() == render(state)
    assert readme(README.read_text(), state) == README.read_text()
    assert not any(progress.tally.alarms for progress in state.kernels.values())


def test_runs_of_seeds_are_told_by_their_ends():
    assert ranges({0, 1, 2, 5, 7, 8}) == [[0, 2], [5, 5], [7, 8]]
    assert ranges(set()) == []


def test_tall_problems_have_many_rows_that_differ():
    case = tall(Case.parse("m1-n64-k96-b4-g32-bcast-dim1-randn"))
    assert (case.m, case.n, case.k, case.layout, case.rank) == (6250, 64, 96, "", 2)
    assert tall(Case.parse("m3-n1040-k4096-b4-g32")).m == 46
