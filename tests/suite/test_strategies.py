"""Strategies stay inside the limits, reach their corners, and shrink to the simplest case."""

import contextlib
import functools
import gc
import signal
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import find, settings

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.axes import BY_FIELD
from gptq_fuzz.case.backend import PLAIN_LIMITS, Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.only import narrowed
from gptq_fuzz.problem.fills import make_values
from gptq_fuzz.search import strategies
from gptq_fuzz.search.own_time import TookTooLong, own_time
from gptq_fuzz.search.pairwise import covering_cases
from gptq_fuzz.search.strategies import (
    GROUP_SIZES,
    TILES,
    _affordable,
    _group_size,
    cases,
    outside,
    refusals,
)
from tests.suite.helpers import LIMITS, STEADY, WIDE, drawn

DRAWS = 1500
# Axis of the limits -> the values of a case
AXES = {
    "bits": lambda case: {case.bits},
    "g_idx": lambda case: {case.g_idx},
    "zeros": lambda case: {case.zeros},
    "formats": lambda case: {case.checkpoint_format},
    "dtypes": lambda case: {case.dtype},
    "scales_dtypes": lambda case: {case.scales_dtype},
    "layouts": lambda case: {case.layout_kind},
    "ranks": lambda case: {case.rank},
    "starts": lambda case: {case.start},
    "fills": lambda case: {case.fill},
    "strided": lambda case: set(case.strided),
}


@functools.cache
def drawn_within(name):
    """Examples of one of LIMITS; many of the plain ones, whose corners are looked for."""
    return drawn(cases(LIMITS[name]), DRAWS if name == "plain" else 600)


CORNERS = {
    "no rows": lambda case: case.m == 0,
    "one row": lambda case: case.m == 1,
    "one word of columns": lambda case: case.n == case.unit,
    "one word of the reduction": lambda case: case.k == case.unit,
    "the smallest weight": lambda case: case.n == case.k == case.unit,
    "a square weight": lambda case: case.n == case.k,
    "a partial last group": lambda case: case.k % case.rows_per_group,
    "a last group of one row": lambda case: case.k % case.rows_per_group == 1,
    "a group larger than K": lambda case: case.group_size > case.k,
    "a group of K rows": lambda case: case.group_size == case.k,
    "a row in each group": lambda case: case.group_size == 1,
    "a group that ends inside a word": lambda case: case.rows_per_group % case.unit,
    "shuffled rows of several groups": lambda case: case.g_idx == "act" and case.groups > 2,
    "a gap with a group without rows": lambda case: case.g_idx == "gap" and case.groups > 1,
    "a first group without rows": lambda case: case.g_idx in ("shard", "odd"),
    "whole groups out of order": lambda case: case.g_idx == "perm" and case.groups > 2,
    "a single row of several groups": lambda case: case.m == 1 and case.groups > 1,
    "a tail of 32 columns": lambda case: case.n > 32 and case.n % 32,
    "a tail of 32 in the reduction": lambda case: case.k > 32 and case.k % 32,
    "a long reduction": lambda case: case.k > 1024,
    "1024 rows in a group, many of x": lambda case: case.group_size == 1024 and case.m > 8,
    "an odd offset": lambda case: case.layout in ("off1", "off3", "off5", "off13"),
    "the last seeds": lambda case: case.seed > 9000,
}


@pytest.mark.parametrize("corner", CORNERS)
def test_a_corner_is_reached(corner):
    assert any(map(CORNERS[corner], drawn_within("plain")))


@pytest.mark.parametrize("tile", [*TILES, 8, 50])
def test_rows_reach_the_neighbours_of_tiles_and_thresholds(tile):
    assert {tile - 1, tile, tile + 1} <= {case.m for case in drawn_within("plain")}


@pytest.mark.parametrize("axis", ["n", "k"])
@pytest.mark.parametrize("tile", TILES)
def test_columns_and_reductions_reach_whole_tiles_and_one_word_beside(axis, tile):
    sizes = {(getattr(case, axis) - tile) / case.unit for case in drawn_within("plain")}
    assert {0, 1} <= sizes


@pytest.mark.turns(2)
@pytest.mark.parametrize("name", LIMITS)
def test_every_value_of_every_axis_is_drawn_and_nothing_outside(name):
    limits, found = LIMITS[name], drawn_within(name)
    for axis, values_of in AXES.items():
        wanted = set(getattr(limits, axis))
        if axis in ("layouts", "ranks", "scales_dtypes", "starts"):
            wanted = set(getattr(limits.for_draws(), axis))
        assert set().union(*map(values_of, found)) == wanted, axis
    assert {case.bias for case in found} == set(limits.of(BY_FIELD["bias"]))
    assert {case.backward for case in found} == {False, limits.backward}
    sizes = limits.group_sizes or GROUP_SIZES
    several = (size for size in sizes if size != -1 or limits.groups_least == 1)
    if not limits.whole_groups or limits.group_sizes:  # else of most only divisors of K
        assert {case.group_size for case in found} >= set(several)
    for case in found:
        assert not limits.violations(case), case
        assert limits.tiles(case.m, case.n, case.k) <= limits.max_tiles, case
        assert not case.bad
        assert Case.parse(str(case), limits.tokens) == case


def test_tokens_of_a_kernel_are_drawn_each_way():
    tokens = [dict(case.extra) for case in drawn_within("wide")]
    assert {chosen.get("cfg") for chosen in tokens} == {None, ".BM16", ".BM64"}
    assert {chosen.get("path") for chosen in tokens} == {"0", "1"}


SHRUNK = [
    # what fails, and the line that remains of it
    (lambda case: True, "m1-n4-k4-b8-gall"),
    (lambda case: case.m > 16, "m17-n4-k4-b8-gall"),
    (lambda case: case.bits == 2, "m1-n16-k16-b2-gall"),
    (lambda case: case.g_idx == "act" and case.groups > 1, "m1-n4-k4-b8-g1-act"),
    (lambda case: case.layout_kind == "pad" and case.m > 1, "m2-n4-k4-b8-gall-pad1"),
    (lambda case: case.fill == "randn", "m1-n4-k4-b8-gall-randn"),
    (lambda case: case.zeros == "z0" and case.n > 32, "m1-n36-k4-b8-gall-z0"),
    (lambda case: case.m == 0, "m0-n4-k4-b8-gall"),
]


@pytest.mark.parametrize(("fails", "wanted"), SHRUNK)
def test_what_does_not_matter_is_shrunk_away(fails, wanted):
    assert smallest(PLAIN_LIMITS, fails) == wanted


def smallest(limits, fails):
    return str(find(cases(limits), fails, settings=settings(STEADY, max_examples=DRAWS)))


def test_the_simplest_case_has_the_first_value_of_a_token_that_must_be_there():
    assert smallest(WIDE, lambda case: True) == "m1-n4-k4-b8-gall-path0"


def test_a_fill_can_be_fixed():
    assert {case.fill for case in drawn(cases(PLAIN_LIMITS, fill="tiny"), 50)} == {"tiny"}


def test_gaps_leave_a_group_without_rows():
    gaps = [case for case in drawn_within("plain") if case.g_idx == "gap" and case.groups > 2][:10]
    assert gaps
    for case in gaps:
        assert make_values(case, "cpu").g_idx.unique().numel() < case.groups


@pytest.mark.parametrize("name", ["wide", "torch", "coarse"])
def test_a_refusal_has_a_bad_operand_or_lies_outside(name):
    limits = LIMITS[name]
    found = drawn(refusals(limits), 300)
    assert all(case.bad or limits.violations(case) for case in found)
    assert {case.bad for case in found} - {""} == set(limits.bad)
    assert not any(case.backward for case in found)


def test_refusals_step_outside_along_every_axis_that_the_operands_show():
    coarse = LIMITS["coarse"]
    found = {axis for case in drawn(refusals(coarse), 200) for axis in coarse.violations(case)}
    assert found == {"dtype", "scales_dtype", "strided", "rank"}
    assert outside(TORCH.limits) == []


@pytest.mark.parametrize("text", ["b3", "b4-v2", "bf16", "m1", "pad8", "frobnicate"])
def test_only_takes_what_the_kernel_promises(text):
    with pytest.raises(ValueError, match="--only"):
        narrowed(PLAIN_LIMITS, text)


def test_only_narrows_the_axes_it_names_and_no_other():
    limits = narrowed(PLAIN_LIMITS, "b4-b2-g128-gall-seq-act-pad")
    assert (limits.bits, limits.group_sizes) == ((4, 2), (128, -1))
    assert (limits.g_idx, limits.layouts) == (("seq", "act"), ("pad",))
    assert limits.fills == PLAIN_LIMITS.fills
    assert narrowed(PLAIN_LIMITS, "") == PLAIN_LIMITS


TOGETHER = {
    "m3+": {"m_least": 3},
    "n24*": {"n_multiple": 24},
    "n24*-n64*-k32*": {"n_multiple": 192, "k_multiple": 32},
    "g2+-m2+-m1+": {"groups_least": 2, "m_least": 2},
    "whole-sx": {"whole_groups": True, "scales_as_x": True},
}


@pytest.mark.parametrize("text", TOGETHER)
def test_only_takes_what_hangs_together(text):
    assert narrowed(PLAIN_LIMITS, text) == replace(PLAIN_LIMITS, **TOGETHER[text])


FITTED = {  # what hangs together, fields of a case -> what they become
    "m2+": ({"m": 0}, {"m": 2}),
    "sx": ({"dtype": "bf16"}, {"dtype": "bf16", "scales_dtype": "sbf16"}),
    "whole": ({"k": 40, "group_size": 32}, {"k": 40, "group_size": 20}),
    "g3+": ({"k": 40, "group_size": 32}, {"k": 40, "group_size": 13}),
    "g3+-whole": ({"k": 40, "group_size": -1}, {"k": 40, "group_size": 10}),
    "g32-whole": ({"k": 40, "group_size": 32}, {"k": 64, "group_size": 32}),
    "g32-g2+": ({"k": 8, "group_size": 32}, {"k": 40, "group_size": 32}),
    "g32-gall-g2+-whole": ({"k": 8, "group_size": -1}, {"k": 64, "group_size": 32}),
}


@pytest.mark.parametrize("text", FITTED)
def test_a_case_is_changed_as_little_as_its_kernel_asks_for(text):
    given, wanted = FITTED[text]
    limits = narrowed(Limits(dtypes=("f16", "bf16"), scales_dtypes=("sf16", "sbf16")), text)
    case = Case(**{"m": 1, "n": 8, "k": 8, "bits": 4, **given})
    assert limits.violations(case)
    fitted = Case(**limits.fitted(vars(case)))
    assert fitted == case.replace(**wanted)
    assert not limits.violations(fitted)


def test_most_groups_are_just_smaller_than_the_reduction():
    """A problem of one group shows less: a size that is too large gives way to the next one."""
    sizes = Counter(drawn(_group_size(PLAIN_LIMITS, 8), 300))
    assert sizes.most_common(1)[0][0] == 5


STEPS = 100  # that halving takes at most, many times over


class Counted(Limits):
    """Limits that are asked for the cost of a problem a few times, and no more."""

    asked = 0

    def tiles(self, *sizes):
        type(self).asked += 1
        assert self.asked < STEPS, "no end"
        return super().tiles(*sizes)


DEAR = [
    # (m, n, k), limits, and what is left with 4-bit codes
    ((5, 160, 128), {"n_multiple": 32, "k_multiple": 128, "tile": (1, 32, 16), "max_tiles": 128},
     [2, 160, 128]),
    ((5, 96, 128), {"n_multiple": 96, "k_multiple": 128, "tile": (1, 1, 1), "max_tiles": 64},
     [1, 96, 128]),
    ((1, 64, 256), {"n_multiple": 64, "k_multiple": 128, "tile": (16, 1, 1), "max_tiles": 1},
     [1, 64, 128]),
    ((0, 24, 40), {"n_multiple": 24, "k_multiple": 40, "tile": (1, 8, 8), "max_tiles": 0},
     [0, 24, 40]),
]  # fmt: skip


@pytest.mark.parametrize(("sizes", "within", "wanted"), DEAR)
def test_halving_ends_where_multiples_stand_in_its_way(sizes, within, wanted, monkeypatch):
    monkeypatch.setattr(Counted, "asked", 0)
    assert _affordable(Counted(**within), *sizes, word=8) == wanted


def test_where_no_problem_is_cheap_enough_the_smallest_are_judged():
    limits = Limits(n_multiple=64, k_multiple=128, tile=(16, 16, 16), max_tiles=8)
    found = [*drawn(cases(limits), 100), *covering_cases(limits, 3)]
    assert {(case.n, case.k) for case in found} == {(64, 128)}
    assert {1, 16} < {case.m for case in found} <= set(range(17))


def forever(*_given):
    while True:
        pass


WITHIN = Limits(n_multiple=32, max_tiles=7)


def test_drawing_without_an_end_is_ended_and_says_what_took_so_long(monkeypatch):
    monkeypatch.setattr(strategies, "_affordable", forever)
    monkeypatch.setattr(
        strategies, "own_time", lambda stage, limits: own_time(stage, limits, seconds=0.1)
    )
    with pytest.raises(TookTooLong, match=r"^drawing a case .* 0.1 s .*n_multiple=32, max_tiles=7"):
        drawn(cases(WITHIN), 1)


def test_a_stage_that_runs_out_of_time_in_a_callback_of_gc_is_ended_soon_after_it():
    begun = []

    def busy(_phase, _info):
        begun.append(time.process_time())
        while time.process_time() < begun[0] + 0.1:
            pass

    def work():
        with contextlib.suppress(TookTooLong):  # as a collection loses what is raised there
            busy("start", {})
        forever()

    gc.callbacks.append(busy)
    try:
        with pytest.raises(TookTooLong), own_time("a stage", WITHIN, seconds=0.02):
            work()
    finally:
        gc.callbacks.remove(busy)
    assert time.process_time() < begun[0] + 0.6  # not at the next ring, a second later


def test_a_stage_counts_no_waiting_and_leaves_no_timer_behind():
    before = signal.getsignal(signal.SIGVTALRM)
    with own_time("waiting", WITHIN, seconds=0.05):
        time.sleep(0.2)
        assert signal.getsignal(signal.SIGVTALRM) != before
    assert signal.getsignal(signal.SIGVTALRM) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_the_outer_of_two_stages_counts():
    with (
        pytest.raises(TookTooLong, match=r"^outer"),
        own_time("outer", WITHIN, seconds=0.1),
        own_time("inner", WITHIN, seconds=0.01),
    ):
        forever()
    assert signal.getsignal(signal.SIGVTALRM) == signal.SIG_DFL


def test_a_handler_of_somebody_else_stays():
    rung = []
    before = signal.signal(signal.SIGVTALRM, lambda *_signal: rung.append(1))
    try:
        with own_time("a stage", WITHIN, seconds=0.01):
            signal.raise_signal(signal.SIGVTALRM)
    finally:
        signal.signal(signal.SIGVTALRM, before)
    assert rung == [1]


def test_outside_the_main_thread_nothing_is_limited():
    done = []

    def work():
        with own_time("a stage", WITHIN, seconds=0.01):
            done.append(signal.getitimer(signal.ITIMER_VIRTUAL))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [(0.0, 0.0)]
