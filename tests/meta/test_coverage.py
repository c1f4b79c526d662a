"""What the summary counts: values, pairs, what is missing, and what several workers saw."""

import contextlib
import itertools
from itertools import combinations
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.suite import verdict as kinds
from tests.suite.backend import PLAIN_LIMITS, Limits
from tests.suite.case import FILLS, Case, Token
from tests.suite.control import TORCH
from tests.suite.coverage import Coverage, all_pairs, axis_values, clash, classes
from tests.suite.report import gather, merged
from tests.suite.strategies import cases
from tests.suite.verdict import Verdict

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


def covered(*lines, kind=kinds.PASS):
    coverage = Coverage()
    for text in lines:
        coverage.add(Case.parse(text), Verdict(kind, text, seconds=0.5))
    return coverage


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


@pytest.mark.parametrize(
    "limits", [PLAIN_LIMITS, TORCH.limits, SMALL], ids=["plain", "torch", "small"]
)
def test_every_class_of_a_drawn_case_is_one_that_can_be_asked_for(limits):
    axes = axis_values(limits)
    for case in drawn(limits, 200):
        found = classes(case)
        assert found.keys() == axes.keys()
        assert not [axis for axis, value in found.items() if value not in axes[axis]], case


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
    missing = covered("m1-n4-k4-b8-gall", "m2-n8-k8-b4-g3-act").missing_values(PLAIN_LIMITS)
    assert {"m=0", "bits=2", "g_idx=rev", "fill=randn", "layout=pad", "group=1"} <= set(missing)
    assert not {"m=1", "bits=8", "g_idx=act", "fill=exact", "last group=partial"} & set(missing)
    assert len(missing) == sum(map(len, axis_values(PLAIN_LIMITS).values())) - len(
        covered("m1-n4-k4-b8-gall", "m2-n8-k8-b4-g3-act").values
    )


def test_the_tokens_of_a_kernel_are_axes_of_their_own():
    limits = Limits(tokens=(Token("thd", ("0", "8")),))
    case = Case.parse("m1-n4-k4-b8-gall-thd8", limits.tokens)
    coverage = Coverage()
    coverage.add(case, Verdict(kinds.PASS, str(case)))
    assert axis_values(limits)["token thd"] == ("0", "8")
    assert coverage.values["token thd", "8"] == 1
    assert "token thd=0" in coverage.missing_values(limits)


def test_the_share_of_pairs_is_of_those_that_are_possible():
    assert Coverage().pair_share(SMALL) == 0
    coverage = covered("m1-n4-k4-b8-gall")
    assert coverage.pair_share(SMALL) == pytest.approx(len(coverage.pairs) / len(all_pairs(SMALL)))


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
    reached = set()
    for case in legal_cases():
        assert not SMALL.violations(case)
        reached |= {frozenset(pair) for pair in combinations(classes(case).items(), 2)}
    assert reached == all_pairs(SMALL)


def test_no_drawn_case_has_two_values_that_clash():
    for case in drawn(TORCH.limits, 300):
        assert not [pair for pair in combinations(classes(case).items(), 2) if clash(*pair)], case


def test_a_clash_does_not_depend_on_the_order():
    pairs = [(("rank", "1"), ("m", "0")), (("last group", "partial"), ("group", "all"))]
    pairs += [(("direction", "backward"), ("bias", "bias"))]
    for first, second in pairs:
        assert clash(first, second)
        assert clash(second, first)
    assert not clash(("rank", "1"), ("m", "1"))
    assert not clash(("direction", "backward"), ("bias", "none"))


def test_a_whole_or_single_row_group_is_never_partial():
    for k in range(4, 64, 4):
        for group in ("gall", "g1"):
            assert classes(Case.parse(f"m1-n4-k{k}-b8-{group}"))["last group"] == "full"


@pytest.mark.parametrize("fill", FILLS)
def test_the_worst_error_is_kept_with_its_line(fill):
    coverage = Coverage()
    for seed, used in enumerate((0.25, 0.5, 0.125)):
        case = Case.parse(f"m1-n4-k4-b8-gall-{fill}").replace(seed=seed)
        coverage.add(case, Verdict(kinds.PASS, str(case), used=used))
    assert coverage.used == 0.5
    assert coverage.used_by.endswith("s1")


def seen(**changes):
    """What one xdist worker reports of one kernel."""
    return {
        "verdicts": {"PASS": 2}, "skips": {}, "values": {"m=1": 2}, "cases": 2, "seconds": 1.0,
        "restarts": 0, "missing": ["m=0", "bits=2"], "pair_share": 0.25, "used": 0.1,
        "used_by": "a", "first_failure": {},
    } | changes  # fmt: skip


def run_of(kernels, **changes):
    empty = {"findings": [], "texts": [], "complaints": [], "left_out": {}, "kernels": kernels}
    return empty | changes


def test_reports_of_several_workers_add_up():
    config = SimpleNamespace(stash=pytest.Stash())
    gather(config, run_of({"torch": seen()}, texts=["found"]))
    other = seen(verdicts={"PASS": 1, "WRONG": 1}, values={"m=0": 2}, missing=["bits=2"], used=0.3)
    other["first_failure"] = {"kind": "WRONG", "seconds": 1.5}
    gather(config, run_of({"torch": other}, texts=["found", "more"]))
    whole = merged(run_of({}), config)
    torch = whole["kernels"]["torch"]
    assert whole["texts"] == ["found", "more"]
    assert (torch["cases"], torch["seconds"], torch["used"]) == (4, 2.0, 0.3)
    assert torch["verdicts"] == {"PASS": 3, "WRONG": 1}
    assert torch["first_failure"]["seconds"] == 1.5
    assert torch["values"] == {"m=1": 2, "m=0": 2}
    assert torch["missing"] == ["bits=2"]
