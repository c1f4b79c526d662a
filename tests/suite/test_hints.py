"""What is said of a wrong result beside its explanation: what decides, by what it is right."""

import importlib
from dataclasses import replace

import pytest
import torch

from gptq_fuzz.case.backend import Backend, Numerics, from_callable
from gptq_fuzz.case.case import Case
from gptq_fuzz.museum.parts import matmul, weights
from gptq_fuzz.oracle import hints as of_hints
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.oracle.hints import hints

LINE = "m4-n16-k96-b4-g32-act-randn"


def said(function, line=LINE, **changes):
    backend = from_callable(function, "kernel")
    for name, value in changes.items():
        object.__setattr__(backend, name, value)
    return hints(lambda case: Examination(backend, case, "cpu", Request()), Case.parse(line))


def exhibit(name):
    return importlib.import_module(f"gptq_fuzz.museum.faulty.{name}").f


@pytest.mark.parametrize("operand", ["scales", "x"])
def test_the_operand_is_named_behind_which_something_is_read(operand):
    found = said(exhibit(f"tail_{operand}_read"), "m1-n4-k4-b8-gall")
    assert found == {"hints": f"depends on what lies behind {operand}"}


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (Numerics(weights=("x",)), "partial='x'"),
        (Numerics(weights=("x",), partial="x"), None),  # right by these
    ],
)
def test_numerics_are_named_by_which_a_result_is_right(declared, words):
    found = said(exhibit("float16_partial_sums"), numerics=declared)["hints"]
    assert found == ("" if words is None else f"would pass with Numerics({words})")


def test_of_a_wrong_kernel_no_numerics_are_named():
    def doubled(x, qweight, qzeros, scales, g_idx, bits):
        return (2 * x.float() @ weights(qweight, qzeros, scales, g_idx, bits)).to(x.dtype)

    assert said(doubled) == {"hints": ""}


def test_where_weights_are_wrong_alone_no_format_of_sums_is_named():
    """Four rows of many that are lost lie within the bound of sums in float16."""

    def f(x, qweight, qzeros, scales, g_idx, bits):
        w = weights(qweight, qzeros, scales, g_idx, bits)
        w[45:48] = 0
        return (x.float() @ w).to(x.dtype)

    case, backend = Case.parse("m1-n4-k516-b8-gall-randn"), from_callable(f, "kernel")
    both = [
        hints(lambda case: Examination(backend, case, "cpu", Request()), case, alone)["hints"]
        for alone in (False, True)
    ]
    assert both == ["would pass with Numerics(partial='x')", ""]


@pytest.mark.parametrize("words", of_hints.BIASES)
def test_what_is_added_in_the_place_of_the_bias_is_named(words):
    used = of_hints.BIASES[words]

    def f(x, qweight, qzeros, scales, g_idx, bits, bias, **_described):
        out = matmul(x, qweight, qzeros, scales, g_idx, bits)
        added = used(bias)
        return out if added is None else out + added

    limits = replace(from_callable(exhibit("all_zero"), "f").limits, bias=True)
    backend = Backend("f", limits, matmul=f)
    case = Case.parse("m4-n16-k96-b4-g32-act-bias-exact")
    found = hints(lambda case: Examination(backend, case, "cpu", Request()), case)
    assert found == {"hints": words}


def test_what_there_was_no_time_to_look_for_is_named(monkeypatch):
    monkeypatch.setattr(of_hints, "SECONDS", -1.0)
    found = said(exhibit("tail_x_read"), "m1-n4-k4-b8-gall")["hints"]
    late = "not looked for, time"
    assert found == f"what lies behind operands: {late}; other Numerics: {late}"


def test_a_kernel_that_answers_by_chance_has_no_surroundings_to_blame():
    def random(x, qweight, qzeros, scales, g_idx, bits):
        return torch.randn(x.shape[0], qweight.shape[1]).to(x.dtype)

    assert "behind" not in said(random)["hints"]
