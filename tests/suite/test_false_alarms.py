"""Correct kernels that round differently pass; `qualification.false_alarms` asks for more."""

import pytest
import torch

from gptq_fuzz.case.case import Case
from qualification.false_alarms import Tally, judge_chunk, kernels, tall

SEEDS = range(1)  # of 50 cases each
CASES = 40  # the others are asked on a GPU alone

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


def test_tall_problems_have_many_rows_that_differ():
    case = tall(Case.parse("m1-n64-k96-b4-g32-bcast-dim1-randn"))
    assert (case.m, case.n, case.k, case.layout, case.rank) == (6250, 64, 96, "", 2)
    assert tall(Case.parse("m3-n1040-k4096-b4-g32")).m == 46
