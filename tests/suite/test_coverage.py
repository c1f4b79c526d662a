"""What is covered and how: classes, counts, a short list of all pairs, cases for cold pairs."""

import contextlib
import itertools

import pytest

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import FILLS
from gptq_fuzz.case.backend import PLAIN_LIMITS, Limits
from gptq_fuzz.case.case import Case, Token
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search import pairwise
from gptq_fuzz.search.coverage import Coverage, axis_values, classes, pairs_of
from gptq_fuzz.search.fuzz import AIMED, Lane
from gptq_fuzz.search.pairwise import ABSENT, all_pairs, cases_for, pairwise_cases, possible_values
from gptq_fuzz.search.strategies import cases
from tests.suite.helpers import LIMITS, SMALL, WIDE, drawn

AXES = possible_values(PLAIN_LIMITS)


@pytest.mark.parametrize("name", LIMITS)
def test_the_list_holds_every_pair_within_the_limits(name):
    limits = LIMITS[name]
    listed = pairwise_cases(limits)
    held = {pair for case in listed for pair in pairs_of(case)}
    assert all_pairs(limits) <= held
    assert not [case for case in listed if limits.violations(case)]
    assert not [case for case in listed if limits.tiles(case.m, case.n, case.k) > limits.max_tiles]
    assert len(listed) < 100


@pytest.mark.parametrize("name", LIMITS)
def test_every_class_and_pair_of_a_drawn_case_is_taken_for_possible(name):
    limits, pairs = LIMITS[name], all_pairs(LIMITS[name])
    possible = axis_values(limits)
    for case in drawn(cases(limits), 300):
        assert not [sorted(pair) for pair in pairs_of(case) - pairs]
        assert classes(case).keys() | {f"token {t.name}" for t in limits.tokens} == possible.keys()
        assert not [axis for axis, value in classes(case).items() if value not in possible[axis]]


def covered(*lines, kind=kinds.PASS):
    coverage = Coverage()
    for text in lines:
        case = Case.parse(text)
        coverage.add(case, Verdict(kind, case, seconds=0.5))
    return coverage


CLASSES = [
    # line, axis, class
    ("m0-n4-k4-b8-gall", "m", "0"),
    ("m1-n4-k4-b8-gall", "m", "1"),
    ("m15-n4-k4-b8-gall", "m", "..15"),
    ("m16-n4-k4-b8-gall", "m", "..63"),
    ("m64-n4-k4-b8-gall", "m", "64.."),
    ("m1-n16-k16-b2-gall", "n", "one word"),
    ("m1-n16-k16-b4-gall", "n", "..63"),
    ("m1-n64-k4-b8-gall", "n", "64.."),
    ("m1-n4-k60-b8-gall", "k", "..63"),
    ("m1-n4-k4-b8-gall", "group", "all"),
    ("m1-n4-k4-b8-g1", "group", "1"),
    ("m1-n4-k4-b8-g15", "group", "..15"),
    ("m1-n4-k4-b8-g16", "group", "..63"),
    ("m1-n4-k4-b8-g1024", "group", "64.."),
    ("m1-n4-k8-b8-g4", "last group", "full"),
    ("m1-n4-k8-b8-g3", "last group", "partial"),
    ("m2-n4-k4-b8-gall-pad3", "layout", "pad"),
    ("m2-n4-k4-b8-gall", "layout", "contiguous"),
    ("m2-n4-k4-b8-gall-wstr", "strided", "wstr"),
    ("m2-n4-k4-b8-gall-wstr-gstr", "strided", "all"),
    ("m2-n4-k4-b8-gall-bwd", "direction", "backward"),
    ("m2-n4-k4-b8-gall-tiny", "fill", "tiny"),
]


@pytest.mark.parametrize(("text", "axis", "value"), CLASSES)
def test_a_case_has_one_value_on_each_axis(text, axis, value):
    assert classes(Case.parse(text))[axis] == value


def test_values_and_pairs_are_counted_once_a_case():
    coverage = covered("m1-n4-k4-b8-gall", "m1-n4-k4-b8-gall", "m2-n4-k4-b8-gall")
    assert (coverage.judged, coverage.verdicts, coverage.seconds) == (3, {kinds.PASS: 3}, 1.5)
    assert coverage.values["m", "1"] == 2
    assert coverage.values["m", "..15"] == 1
    axes = len(axis_values(PLAIN_LIMITS))
    assert len(coverage.pairs) == axes * (axes - 1) / 2 + (axes - 1)
    assert frozenset([("m", "..15"), ("bits", "8")]) in coverage.pairs
    assert frozenset([("m", "0"), ("bits", "8")]) not in coverage.pairs


def test_skipped_cases_cover_nothing():
    coverage = covered("m1-n4-k4-b8-gall", kind=kinds.SKIPPED)
    assert (coverage.judged, coverage.skips.total()) == (0, 1)
    assert not coverage.values
    assert not coverage.pairs


def test_refused_cases_are_judged_but_cover_no_axis():
    coverage = covered("m1-n4-k4-b8-gall-badgidx", kind=kinds.REJECTED)
    assert coverage.judged == 1
    assert not coverage.values


def test_missing_values_are_named():
    missing = covered("m1-n4-k4-b8-gall", "m2-n8-k8-b4-g3-act").missing_values(AXES)
    assert {"m=0", "bits=2", "g_idx=rev", "fill=randn", "layout=pad", "group=1"} <= set(missing)
    assert not {"m=1", "bits=8", "g_idx=act", "fill=exact", "last group=partial"} & set(missing)
    assert len(missing) == sum(map(len, AXES.values())) - len(
        covered("m1-n4-k4-b8-gall", "m2-n8-k8-b4-g3-act").values
    )


def test_the_tokens_of_a_kernel_are_axes_of_their_own():
    limits = Limits(tokens=(Token("thd", ("0", "8")),))
    case = Case.parse("m1-n4-k4-b8-gall-thd8", limits.tokens)
    coverage = Coverage()
    coverage.add(case, Verdict(kinds.PASS, case))
    assert axis_values(limits)["token thd"] == ("0", "8")
    assert coverage.values["token thd", "8"] == 1
    assert "token thd=0" in coverage.missing_values(axis_values(limits))


def test_missing_pairs_are_named_of_those_that_are_possible():
    possible = all_pairs(SMALL)
    assert len(Coverage().missing_pairs(possible)) == len(possible)
    missing = covered("m1-n4-k4-b8-gall").missing_pairs(possible)
    assert len(missing) == len(possible - pairs_of(Case.parse("m1-n4-k4-b8-gall")))
    assert "g_idx=act with m=1" in missing
    assert "bits=8 with m=1" not in missing


@pytest.mark.parametrize("fill", FILLS)
def test_the_worst_error_is_kept_with_its_line(fill):
    coverage = Coverage()
    for seed, used in enumerate((0.25, 0.5, 0.125)):
        case = Case.parse(f"m1-n4-k4-b8-gall-{fill}").replace(seed=seed)
        coverage.add(case, Verdict(kinds.PASS, case, used=used))
    assert coverage.used == 0.5
    assert coverage.used_by.seed == 1


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
    """The cases of some rounds, in their order, and the kernel that they were built for."""
    kernel, found = Kernel(), []
    lane = Lane(kernel, 1, 100)
    for _ in range(count):
        lane._draw()
        lane.seed += 1
        for _, case in lane.drawn:
            kind = kinds.PASS if judged else kinds.SKIPPED
            kernel.coverage.add(case, Verdict(kind, case))
        found.append([case for _, case in lane.drawn])
        lane.drawn.clear()
    lane.pool.shutdown()
    return found, kernel


def test_rounds_are_steered_to_pairs_that_no_case_had_until_none_is_left():
    found, kernel = rounds(8)
    assert found[0][:AIMED] == kernel.aimed[100]
    assert not kernel.coverage.missing_pairs(all_pairs(PLAIN_LIMITS))
    assert 107 not in kernel.aimed
    assert found == rounds(8)[0]


def test_what_cannot_be_judged_is_not_aimed_at_for_ever():
    _, kernel = rounds(40, judged=False)
    aimed = [len(kernel.aimed.get(at, ())) for at in range(100, 140)]
    assert aimed[:5] == [AIMED] * 5
    assert max(aimed[30:]) <= AIMED / 3


def test_the_best_of_a_few_rows_is_taken(monkeypatch):
    built, row = [], pairwise._Grid.row
    monkeypatch.setattr(pairwise._Grid, "row", lambda *given: built.append(given[1]) or row(*given))
    assert len(cases_for(SMALL, all_pairs(SMALL), 3, 0)) == 3
    assert [built.count(pair) for pair in dict.fromkeys(built)] == [pairwise.TRIES] * 3


@pytest.mark.parametrize("turn", range(7))
def test_sizes_of_a_class_take_turns(turn):
    assert pairwise._turned([1, 2, 3], turn)[0] == turn % 3 + 1
    assert sorted(pairwise._turned([1, 2, 3], turn)) == [1, 2, 3]
    assert not pairwise._turned([], turn)
