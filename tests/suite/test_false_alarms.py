"""Correct kernels that round differently pass, a quarter of them a day.

`qualification.false_alarms` asks all of them for more.
"""

import pytest

from gptq_fuzz.case.case import Case
from qualification.false_alarms import judge_chunk, kernels, tall
from tests.turns import todays

CASES = 40  # of the 50 of a seed; the others are asked on a GPU alone

pytestmark = pytest.mark.museum


@pytest.mark.parametrize("name", todays(kernels(), 4))
def test_a_correct_kernel_is_never_called_wrong(name, capfd):
    tally = judge_chunk(name, 0, talls=0)
    assert not tally.alarms
    assert tally.cases >= CASES


def test_tall_problems_have_many_rows_that_differ():
    case = tall(Case.parse("m1-n64-k96-b4-g32-bcast-dim1-randn"))
    assert (case.m, case.n, case.k, case.layout, case.rank) == (6250, 64, 96, "", 2)
    assert tall(Case.parse("m3-n1040-k4096-b4-g32")).m == 46
