"""The short list holds every pair of axis values, and cold pairs get cases of their own."""

import contextlib
import itertools

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import case as axes
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import PLAIN_LIMITS, Limits
from gptq_fuzz.case.case import Case, Token
from gptq_fuzz.case.only import narrowed
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search import pairwise
from gptq_fuzz.search.coverage import Coverage, classes, pairs_of
from gptq_fuzz.search.fuzz import AIMED, Lane
from gptq_fuzz.search.pairwise import ABSENT, all_pairs, cases_for, pairwise_cases, possible_values
from gptq_fuzz.search.strategies import cases

WIDE = Limits(
    dtypes=("f16", "bf16"),
    scales_dtypes=axes.SCALES_DTYPES,
    g_idx=axes.G_IDX_KINDS,
    ranks=axes.RANKS,
    strided=axes.STRIDED,
    bias=True,
    backward=True,
    tokens=(Token("cfg", (".BM16", ".BM64")), Token("path", ("0", "1"), optional=False)),
    tile=(16, 32, 32),
    max_tiles=64,
)
SMALL = Limits(
    bits=(8,),
    g_idx=("seq", "act"),
    zeros=("zall",),
    layouts=("",),
    ranks=(2, 1),
    fills=("exact",),
    bias=True,
    backward=True,
)
LIMITS = {
    "plain": PLAIN_LIMITS,
    "torch": TORCH.limits,
    "wide": WIDE,
    "small": SMALL,
    "coarse": Limits(bits=(4, 2), n_multiple=32, k_multiple=24, group_sizes=(32, -1, 128)),
    "one group": Limits(group_sizes=(-1,), n_multiple=64, k_multiple=128),
    "one tile": Limits(tile=(16, 32, 32), max_tiles=1),
    "only": narrowed(WIDE, "b4-g128-seq-randn"),
}


def drawn(limits, count):
    found = []

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None,
        phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases(limits))
    def collect(case):
        found.append(case)

    collect()
    return found


@pytest.mark.parametrize("name", LIMITS)
def test_the_list_holds_every_pair_within_the_limits(name):
    limits = LIMITS[name]
    made = pairwise_cases(limits)
    held = {pair for case in made for pair in pairs_of(case)}
    assert all_pairs(limits) <= held
    assert not [case for case in made if limits.violations(case)]
    assert not [case for case in made if limits.tiles(case.m, case.n, case.k) > limits.max_tiles]
    assert len(made) < 100


@pytest.mark.parametrize("name", LIMITS)
def test_no_pair_of_a_drawn_case_is_taken_for_impossible(name):
    limits = LIMITS[name]
    found = {pair for case in drawn(limits, 300) for pair in pairs_of(case)}
    assert not [sorted(pair) for pair in found - all_pairs(limits)]


def legal_cases():
    """Every Case of SMALL with sizes and groups of each class."""
    sizes = itertools.product(
        (0, 1, 2, 16, 64), (4, 8, 64), (4, 8, 64), (-1, 1, 2, 3, 16, 24, 64, 100)
    )
    flags = [(False, False), (True, False), (False, True)]  # a bias has no part in a gradient
    for m, n, k, group in sizes:
        for rank, g_idx, (bias, backward) in itertools.product(SMALL.ranks, SMALL.g_idx, flags):
            with contextlib.suppress(ValueError):
                yield Case(
                    m, n, k, 8, group, g_idx, rank=rank, bias=bias, backward=backward
                )  # fmt: skip


def test_the_possible_pairs_are_those_that_some_case_has():
    reached = {pair for case in legal_cases() for pair in pairs_of(case)}
    assert reached == all_pairs(SMALL)


def test_values_that_no_case_has_are_not_asked_for():
    assert possible_values(LIMITS["one tile"])["m"] == ("0", "1", "..15", "..63")
    assert possible_values(LIMITS["one tile"])["k"] == ("one word", "..63")
    assert possible_values(LIMITS["one group"])["last group"] == ("full",)
    assert possible_values(LIMITS["one group"])["n"] == ("64..",)


def test_the_list_is_the_same_each_time_and_its_lines_are_cases():
    lines = [str(case) for case in pairwise_cases(WIDE)]
    assert lines == [str(case) for case in pairwise_cases(WIDE)]
    assert len(set(lines)) == len(lines)
    assert [str(Case.parse(line, WIDE.tokens)) for line in lines] == lines


def test_a_token_that_may_be_left_out_is_left_out_with_every_value_too():
    without = [case for case in pairwise_cases(WIDE) if "cfg" not in dict(case.extra)]
    held = {value for case in without for value in classes(case).items()}
    everything = {(axis, v) for axis, values in possible_values(WIDE).items() for v in values}
    assert {value for value in everything - held if value[0] != "token cfg"} == set()
    assert ABSENT not in possible_values(WIDE)["token cfg"]


def test_cold_pairs_get_cases_as_many_as_are_asked_for():
    cold = [pair for pair in all_pairs(WIDE) if ("fill", "tiny") in pair]
    few = cases_for(WIDE, cold, 3, seed=7)
    assert len(few) == 3
    assert all(case.fill == "tiny" for case in few)
    assert few == cases_for(WIDE, cold, 3, seed=7)
    assert few != cases_for(WIDE, cold, 3, seed=8)
    assert cases_for(WIDE, [], 3, seed=7) == []


class Kernel:
    """What a Lane needs of a kernel; nothing is judged."""

    in_process, limits, worker = True, PLAIN_LIMITS, None

    def __init__(self):
        self.coverage, self.aimed = Coverage(), {}


def rounds(count, judged=True):
    """The cases of some rounds, in their order, and the kernel that they were made for."""
    kernel, found = Kernel(), []
    lane = Lane(kernel, 1, 100)
    for _ in range(count):
        lane._draw()
        lane.seed += 1
        for _, case in lane.drawn:
            kind = kinds.PASS if judged else kinds.SKIPPED
            kernel.coverage.add(case, Verdict(kind, str(case)))
        found.append([case for _, case in lane.drawn])
        lane.drawn.clear()
    lane.pool.shutdown()
    return found, kernel


def test_rounds_are_steered_to_pairs_that_no_case_had_until_none_is_left():
    found, kernel = rounds(8)
    assert [str(case) for case in found[0][:AIMED]] == kernel.aimed[100]
    assert not kernel.coverage.missing_pairs(all_pairs(PLAIN_LIMITS))
    assert 107 not in kernel.aimed
    assert found == rounds(8)[0]


def test_what_cannot_be_judged_is_not_aimed_at_for_ever():
    _, kernel = rounds(40, judged=False)
    aimed = [len(kernel.aimed.get(at, ())) for at in range(100, 140)]
    assert aimed[:5] == [AIMED] * 5
    assert max(aimed[30:]) <= AIMED / 3


def test_the_best_of_a_few_rows_is_taken(monkeypatch):
    made, row = [], pairwise._Grid.row
    monkeypatch.setattr(pairwise._Grid, "row", lambda *given: made.append(given[1]) or row(*given))
    assert len(cases_for(SMALL, all_pairs(SMALL), 3, 0)) == 3
    assert [made.count(pair) for pair in dict.fromkeys(made)] == [pairwise.TRIES] * 3


@pytest.mark.parametrize("turn", range(7))
def test_sizes_of_a_class_take_turns(turn):
    assert pairwise._turned([1, 2, 3], turn)[0] == turn % 3 + 1
    assert sorted(pairwise._turned([1, 2, 3], turn)) == [1, 2, 3]
    assert not pairwise._turned([], turn)
