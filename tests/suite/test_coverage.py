"""What is covered and how: classes, counts, a short list, cases for cold pairs and triples."""

import functools
import itertools
import math
from dataclasses import replace

import pytest

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import FILLS, LOW
from gptq_fuzz.case.backend import PLAIN_LIMITS, Limits
from gptq_fuzz.case.case import Case, Token
from gptq_fuzz.case.history import parse_history
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.museum.catalogue import faulty
from gptq_fuzz.search import fuzz, pairwise
from gptq_fuzz.search.coverage import (
    BINS,
    DISPATCH,
    Coverage,
    axis_values,
    classes,
    pairs_of,
    triples_of,
)
from gptq_fuzz.search.fuzz import AIMED, Lane
from gptq_fuzz.search.pairwise import (
    ABSENT,
    all_together,
    cases_for,
    covering_cases,
    possible_values,
)
from gptq_fuzz.search.strategies import cases
from gptq_fuzz.worker.loader import load
from tests.suite.helpers import LIMITS, SMALL, WIDE, drawn, examination
from tests.turns import todays

pytestmark = pytest.mark.turns(4)

AXES = possible_values(PLAIN_LIMITS)


def held(listed, together):
    return {each for case in listed for each in together(case)}


def fours_of(case):
    named = classes(case)
    chosen = itertools.combinations([(axis, named[axis]) for axis in DISPATCH], 4)
    return set(map(frozenset, chosen))


@functools.cache
def listed_for(name, strength):
    return covering_cases(LIMITS[name], strength)


OF_STRENGTH = {2: pairs_of, 3: triples_of, 4: fours_of}
LISTED = [*itertools.product(LIMITS, (2, 3)), *((name, 4) for name in todays(LIMITS, 3))]


@pytest.mark.parametrize(("name", "strength"), LISTED)
def test_the_list_holds_every_pair_and_more_where_dispatchers_branch(name, strength):
    limits = LIMITS[name]
    listed = listed_for(name, strength)
    assert all_together(limits, 2) <= held(listed, pairs_of)
    assert all_together(limits, strength) <= held(listed, OF_STRENGTH[strength])
    assert not [case for case in listed if limits.violations(case)]
    assert not [case for case in listed if limits.tiles(case.m, case.n, case.k) > limits.max_tiles]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("strength", [2, 3])
def test_the_list_is_hardly_longer_than_it_must_be(name, strength):
    """No list can be shorter than the values of its largest axes, all with each other: one for
    pairs, and one for triples. Where many axes are nearly as large there are more that meet.
    """
    counts = {axis: len(values) for axis, values in possible_values(LIMITS[name]).items()}
    chosen = counts.values() if strength == 2 else [counts[axis] for axis in DISPATCH]
    least = max(map(math.prod, itertools.combinations(chosen, strength)))
    pairs = max(map(math.prod, itertools.combinations(counts.values(), 2)))
    assert len(listed_for(name, strength)) <= 1.4 * (pairs + least * (strength > 2))


@pytest.mark.parametrize("name", LIMITS)
def test_every_class_and_pair_of_a_drawn_case_is_taken_for_possible(name):
    limits, pairs = LIMITS[name], all_together(LIMITS[name], 2)
    triples, possible = all_together(limits, 3), axis_values(limits)
    for case in drawn(cases(limits), 150):
        assert not [sorted(pair) for pair in pairs_of(case) - pairs]
        assert not [sorted(triple) for triple in triples_of(case) - triples]
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
    ("m255-n4-k4-b8-gall", "m", "..255"),
    ("m256-n4-k4-b8-gall", "m", "256.."),
    ("m1-n16-k16-b2-gall", "n", "one word"),
    ("m1-n16-k16-b4-gall", "n", "..63"),
    ("m1-n64-k4-b8-gall", "n", "..511"),
    ("m1-n512-k4-b8-gall", "n", "512.."),
    ("m1-n4-k60-b8-gall", "k", "..63"),
    ("m1-n4-k508-b8-gall", "k", "..511"),
    ("m1-n4-k2880-b8-gall", "k", "512.."),
    ("m1-n4-k4-b8-gall", "group", "all"),
    ("m1-n4-k4-b8-g1", "group", "1"),
    ("m1-n4-k4-b8-g15", "group", "..15"),
    ("m1-n4-k4-b8-g16", "group", "..63"),
    ("m1-n4-k4-b8-g1024", "group", "64.."),
    ("m1-n4-k8-b8-g4", "last group", "full"),
    ("m1-n4-k8-b8-g3", "last group", "partial"),
    ("m2-n4-k4-b8-gall-pad3", "layout", "pad"),
    ("m2-n4-k4-b8-gall", "layout", "contiguous"),
    ("m2-n4-k4-b8-gall-at4", "start", "at4"),
    ("m2-n4-k4-b8-gall-wstr", "strided", "wstr"),
    ("m2-n4-k4-b8-gall-wstr-gstr", "strided", "all"),
    ("m2-n4-k4-b8-gall-bwd", "direction", "bwd"),
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
    assert frozenset([("m", "..15"), ("bits", "b8")]) in coverage.pairs
    assert frozenset([("m", "0"), ("bits", "b8")]) not in coverage.pairs
    triples = math.comb(len(DISPATCH), 3)
    assert len(coverage.triples) == triples + math.comb(len(DISPATCH) - 1, 2)
    assert frozenset([("m", "..15"), ("bits", "b8"), ("g_idx", "seq")]) in coverage.triples


def test_skipped_cases_cover_nothing():
    coverage = covered("m1-n4-k4-b8-gall", kind=kinds.SKIPPED)
    assert (coverage.judged, coverage.skips.total()) == (0, 1)
    assert not coverage.values
    assert not coverage.pairs
    assert not coverage.triples


def test_refused_cases_are_judged_but_cover_no_axis():
    coverage = covered("m1-n4-k4-b8-gall-badgidx", kind=kinds.REJECTED)
    assert coverage.judged == 1
    assert not coverage.values


def test_a_fault_of_three_axes_is_met_by_the_list_of_triples():
    """By a drawn case, or one of the list of pairs, where luck has it."""
    piece = next(exhibit for exhibit in faulty() if exhibit.only == "triples")
    assert any(shows(piece, case) for case in covering_cases(PLAIN_LIMITS, 3))


def shows(piece, case):
    """Whether a case has what the piece is wrong for; the sizes of most tell."""
    m, n, k = piece.smallest
    return (
        min(case.m - m, case.n - n, case.k - k) >= 0
        and examination(load(piece.spec, "."), str(case)).verdict().kind in piece.verdicts
    )


def test_missing_values_are_named():
    missing = covered("m1-n4-k4-b8-gall", "m2-n8-k8-b4-g3-act").missing_values(AXES)
    assert {"m=0", "bits=b2", "g_idx=rev", "fill=randn", "layout=pad", "group=1"} <= set(missing)
    assert not {"m=1", "bits=b8", "g_idx=act", "fill=exact", "last group=partial"} & set(missing)
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
    possible = all_together(SMALL, 2)
    assert len(Coverage().missing(possible)) == len(possible)
    missing = covered("m1-n4-k4-b8-gall").missing(possible)
    assert len(missing) == len(possible - pairs_of(Case.parse("m1-n4-k4-b8-gall")))
    assert "g_idx=act with m=1" in missing
    assert "bits=b8 with m=1" not in missing
    missing = covered("m1-n4-k4-b8-gall").missing(all_together(SMALL, 3))
    assert "bits=b8 with g_idx=act with m=1" in missing
    assert "bits=b8 with g_idx=seq with m=1" not in missing


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
        (0, 1, 2, 16, 64, 256), (4, 8, 64, 512), (4, 8, 64, 512), (-1, 1, 2, 3, 16, 24, 64, 100)
    )
    # a bias has no part in a gradient
    flags = [(False, False), (True, False), (LOW, False), (False, True)]
    for m, n, k, group in sizes:
        for rank, g_idx, (bias, backward) in itertools.product(SMALL.ranks, SMALL.g_idx, flags):
            if SMALL.affords(m, n, k, 4) and (rank != 1 or m == 1):
                yield Case(
                    m, n, k, 8, group, g_idx, rank=rank, bias=bias, backward=backward
                )  # fmt: skip


def test_what_is_possible_is_what_some_case_has():
    legal = list(legal_cases())
    for strength, together in OF_STRENGTH.items():
        assert held(legal, together) == all_together(SMALL, strength)


def test_values_that_no_case_has_are_not_asked_for():
    assert possible_values(LIMITS["one tile"])["m"] == ("0", "1", "..15", "..63")
    assert possible_values(LIMITS["one tile"])["k"] == ("one word", "..63")
    assert possible_values(LIMITS["one group"])["last group"] == ("full",)
    assert possible_values(LIMITS["one group"])["n"] == ("..511", "512..")


def test_the_list_is_the_same_each_time_and_its_lines_are_cases():
    lines = [str(case) for case in covering_cases(WIDE, 3)]
    assert lines == [str(case) for case in covering_cases(WIDE, 3)]
    assert len(set(lines)) == len(lines)
    assert [str(Case.parse(line, WIDE.tokens)) for line in lines] == lines


def test_a_token_that_may_be_left_out_is_left_out_with_every_value_too():
    without = [case for case in covering_cases(WIDE) if "cfg" not in dict(case.extra)]
    held = {value for case in without for value in classes(case).items()}
    everything = {(axis, v) for axis, values in possible_values(WIDE).items() for v in values}
    assert {value for value in everything - held if value[0] != "token cfg"} == set()
    assert ABSENT not in possible_values(WIDE)["token cfg"]


def test_cold_pairs_get_cases_as_many_as_are_asked_for():
    cold = sorted((pair for pair in all_together(WIDE, 2) if ("fill", "tiny") in pair), key=sorted)
    few = cases_for(WIDE, cold, 3, seed=7)
    assert len(few) == 3
    assert all(case.fill == "tiny" for case in few)
    assert few == cases_for(WIDE, cold[::-1], 3, seed=7)  # as another process sorts a set
    assert few != cases_for(WIDE, cold, 3, seed=8)
    assert cases_for(WIDE, [], 3, seed=7) == []


def test_a_cold_triple_gets_a_case_with_other_sizes_for_another_seed():
    cold = {frozenset([("m", "256.."), ("k", "..511"), ("bits", "b2")])}
    for seed in range(5):
        (case,) = cases_for(WIDE, cold, None, seed)
        assert cold <= triples_of(case)
    assert len({cases_for(WIDE, cold, None, seed)[0].m for seed in range(5)}) > 1


class Kernel:
    """What a Lane needs of a kernel; nothing is judged."""

    in_process, worker = True, None

    def __init__(self, limits=PLAIN_LIMITS):
        self.limits = limits
        self.coverage, self.aimed = Coverage(), {}


def rounds(count, judged=True, limits=PLAIN_LIMITS):
    """The cases of some rounds, in their order, and the kernel that they were built for."""
    kernel, found = Kernel(limits), []
    lane = Lane(kernel, 1, 100)
    for _ in range(count):
        lane._draw()
        lane.seed += 1
        *drawn, (_, history) = lane.drawn
        assert parse_history("/".join(history), limits)
        for _, case in drawn:
            kind = kinds.PASS if judged else kinds.SKIPPED
            kernel.coverage.add(case, Verdict(kind, case))
        found.append([case for _, case in drawn])
        lane.drawn.clear()
    lane.pool.shutdown()
    return found, kernel


def test_rounds_are_steered_to_pairs_and_then_to_triples_that_no_case_had():
    found, kernel = rounds(22)
    assert found[0][:AIMED] == kernel.aimed[100]
    assert all(len(aimed) == AIMED for aimed in kernel.aimed.values())
    assert not kernel.coverage.missing(all_together(PLAIN_LIMITS, 2))
    assert len(kernel.coverage.missing(all_together(PLAIN_LIMITS, 3))) < 1000
    assert found[:9] == rounds(9)[0]


def test_no_case_is_aimed_when_every_pair_and_triple_was_judged():
    kernel = Kernel()
    for case in covering_cases(PLAIN_LIMITS, 3):
        kernel.coverage.add(case, Verdict(kinds.PASS, case))
    lane = Lane(kernel, 1, 100)
    lane._draw()
    lane.pool.shutdown()
    assert kernel.aimed == {}


def test_what_cannot_be_judged_is_not_aimed_at_for_ever(monkeypatch):
    monkeypatch.setattr(fuzz, "ROUND", 10)  # of drawn cases, which are not counted here
    unrefusing = replace(SMALL, bad=(), refuses_outside=False)
    _, kernel = rounds(40, judged=False, limits=unrefusing)
    aimed = [len(kernel.aimed.get(at, ())) for at in range(100, 140)]
    assert aimed[:5] == [AIMED] * 5
    assert max(aimed[30:]) <= AIMED / 2


def test_the_best_of_a_few_rows_is_taken(monkeypatch):
    built, row = [], pairwise._Left.row

    def counted(left, first, turn):
        built.append(tuple(first))
        return row(left, first, turn)

    monkeypatch.setattr(pairwise._Left, "row", counted)
    assert len(cases_for(SMALL, all_together(SMALL, 2), 3, 0)) == 3
    assert [built.count(pair) for pair in dict.fromkeys(built)] == [pairwise.TRIES] * 3


@pytest.mark.parametrize("turn", range(7))
def test_sizes_of_a_class_take_turns(turn):
    assert pairwise._turned([1, 2, 3], turn)[0] == turn % 3 + 1
    assert sorted(pairwise._turned([1, 2, 3], turn)) == [1, 2, 3]
    assert not pairwise._turned([], turn)


def test_of_what_passed_the_error_is_counted_by_fill():
    coverage = Coverage()
    cases = [Case.parse(line) for line in ("m1-n4-k4-b8-gall", "m1-n4-k4-b8-gall-randn")]
    for used in (0.0, 2.0**-30, 0.5, 0.99, 1.0 + 2.0**-21):
        coverage.add(cases[0], Verdict(kinds.PASS, cases[0], used=used))
    coverage.add(cases[1], Verdict(kinds.WRONG, cases[1], used=3.0))
    counts = coverage.used_by_fill["exact"]
    assert [place for place, count in enumerate(counts) for _ in range(count)] == [
        0, 1, BINS - 2, BINS - 2, BINS - 1,
    ]  # fmt: skip
    assert "randn" not in coverage.used_by_fill
