"""What the summary counts: values, pairs, what is missing, and what several workers saw."""

from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import PLAIN_LIMITS, Limits
from gptq_fuzz.case.case import FILLS, Case, Token
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.plugin.report import compiled_in_words, gather, merged, share
from gptq_fuzz.search.coverage import Coverage, axis_values, classes, pairs_of
from gptq_fuzz.search.pairwise import all_pairs, possible_values
from gptq_fuzz.search.strategies import cases
from gptq_fuzz.worker.served import specialisation

AXES = possible_values(PLAIN_LIMITS)
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
    coverage.add(case, Verdict(kinds.PASS, str(case)))
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
        coverage.add(case, Verdict(kinds.PASS, str(case), used=used))
    assert coverage.used == 0.5
    assert coverage.used_by.endswith("s1")


def seen(**changes):
    """What one xdist worker reports of one kernel."""
    return {
        "verdicts": {"PASS": 2}, "skips": {}, "values": {"m=1": 2}, "cases": 2, "seconds": 1.0,
        "restarts": 0, "missing": ["m=0", "bits=2"], "used": 0.1,
        "pairs_missing": ["a=1 with b=2", "a=1 with b=3"], "specialisations": ["one[]"],
        "used_by": "a", "fingerprints": {},
        "first_verdict": {}, "first_failure": None, "first_finding": None, "ended": 3.0,
    } | changes  # fmt: skip


def run_of(kernels, **changes):
    empty = {"findings": [], "texts": [], "complaints": [], "left_out": {}, "kernels": kernels}
    return empty | changes


def test_reports_of_several_workers_add_up():
    config = SimpleNamespace(stash=pytest.Stash())
    gather(config, run_of({"torch": seen()}, texts=["found"]))
    other = seen(verdicts={"PASS": 1, "WRONG": 1}, values={"m=0": 2}, missing=["bits=2"], used=0.3)
    other |= {"pairs_missing": ["a=1 with b=3"], "specialisations": ["two[]"]}
    other |= {"first_verdict": {"line": "b"}, "first_failure": 2.5}
    gather(config, run_of({"torch": other}, texts=["found", "more"]))
    whole = merged(run_of({}), config)
    torch = whole["kernels"]["torch"]
    assert whole["texts"] == ["found", "more"]
    assert (torch["cases"], torch["seconds"], torch["used"]) == (4, 2.0, 0.3)
    assert torch["verdicts"] == {"PASS": 3, "WRONG": 1}
    assert torch["values"] == {"m=1": 2, "m=0": 2}
    assert (torch["missing"], torch["pairs_missing"]) == (["bits=2"], ["a=1 with b=3"])
    assert torch["specialisations"] == ["one[]", "two[]"]
    assert (torch["first_verdict"], torch["first_failure"]) == ({"line": "b"}, 2.5)


def test_the_first_failure_of_several_workers_is_the_earliest():
    config = SimpleNamespace(stash=pytest.Stash())
    gather(config, run_of({"torch": seen()}))
    gather(config, run_of({"torch": seen(first_failure=2.0, first_finding=5.0)}))
    gather(config, run_of({"torch": seen(first_failure=3.0, first_finding=4.0, ended=9.0)}))
    torch = merged(run_of({}), config)["kernels"]["torch"]
    assert [torch[name] for name in ("first_failure", "first_finding", "ended")] == [2.0, 4.0, 9.0]


def compiled(block, warps=4, name="matmul"):
    """What Triton's hook tells of one binary."""
    parameters = [SimpleNamespace(name="x_ptr"), SimpleNamespace(name="BLOCK_SIZE_M")]
    return {
        "repr": f"{name}[num_warps={warps}, num_stages=3](x_ptr: *fp16)",
        "fn": SimpleNamespace(jit_function=SimpleNamespace(params=parameters)),
        "compile": {"constants": {(1,): block}},
    }


def test_a_specialisation_is_told_with_its_constants_by_name():
    wanted = "matmul[num_warps=4, num_stages=3](x_ptr: *fp16) BLOCK_SIZE_M=64"
    assert specialisation(compiled(64)) == wanted
    assert specialisation({"repr": "matmul[]()"}) == "matmul[]()"


def test_specialisations_are_counted_by_kernel_and_launch_config():
    told = [compiled(16), compiled(64), compiled(64, warps=8), compiled(64, name="other")]
    told.append(compiled(64) | {"repr": "matmul[num_warps=4, num_stages=3](x_ptr: *bf16)"})
    binaries = [specialisation(each) for each in told]
    assert compiled_in_words(binaries) == "5 specialisations of 2 kernels, 4 launch configs"


def test_all_pairs_are_100_percent_and_nothing_less_is():
    assert (share(5000, 5000), share(4999, 5000)) == ("100% of 5000", "99.9% of 5000")
    assert share(1, 3) == "33.3% of 3"
