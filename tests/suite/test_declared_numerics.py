"""Roundings that a Backend declares are allowed, as far as arithmetic says, and no further."""

import pytest
import torch

from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.judge import Expected
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.rounding import F16, FORMATS, round_to, spacing
from reference.matmul import dequantize

FLOAT16_SUMS = Numerics(weights=("x",), folds_zero=False, accumulator="f16", partial="f16")
TF32 = Numerics(weights=("exact",), folds_zero=False, tf32=True)
SCALED_ZERO = Numerics(weights=("exact",), folds_zero=False, scaled_zero=True)


def problem(line, numerics, change=lambda values: None):
    """(Expected, x [M, K], W [K, N]) in float64, the values changed before all else."""
    operands = Operands(Case.parse(line), "cpu")
    change(operands.values)
    operands = Operands(operands.case, "cpu", values=operands.values)
    weights = operands.originals()
    weights.pop("bias")
    weight = dequantize(**weights)
    return Expected(operands, weight, numerics, 0), operands.values.left, weight


def float16_sums(left, weight):
    total = torch.zeros(len(left), weight.shape[1], dtype=torch.float64)
    for k, row in enumerate(round_to(weight, F16)):
        total = round_to(total + round_to(left[:, k, None] * row, F16), F16)
    return total


def cut(values, digits):
    """float64 values cut to so many digits."""
    step = spacing(values, FORMATS["f32"]) * 2 ** (24 - digits)
    return (values / step).trunc() * step


@pytest.mark.parametrize("fill", ["exact", "sparse", "onehot", "randn", "tiny"])
@pytest.mark.parametrize("length", [16, 512])
def test_a_declared_float16_accumulator_is_right_on_every_fill(fill, length):
    expected, left, weight = problem(f"m9-n16-k{length}-b4-g16-act-{fill}", FLOAT16_SUMS)
    assert expected.check(float16_sums(left, weight)).count == 0


def test_a_declared_float16_accumulator_may_not_lose_what_it_can_hold():
    expected, left, weight = problem("m9-n16-k64-b4-g16-act-sparse", FLOAT16_SUMS)
    right = round_to(left @ weight, F16)
    assert expected.check(right).count == 0
    assert expected.check(right + spacing(right, F16)).count == right.numel()


def opposite(values):
    """40000 + 40000 - 40000 - 40000"""
    values.codes[:], values.zeros[:], values.scales[:] = 1, 0, 1.0
    values.left[0] = torch.tensor([40000.0, 40000, -40000, -40000])


@pytest.mark.parametrize(("numerics", "wrong"), [(FLOAT16_SUMS, 0), (Numerics(), 4)])
def test_a_float16_partial_sum_may_overflow_where_a_float32_one_may_not(numerics, wrong):
    expected = problem("m1-n4-k4-b8-gall-randn", numerics, opposite)[0]
    for value in (torch.nan, torch.inf, -torch.inf):
        assert expected.check(torch.full((1, 4), value)).count == wrong
    assert expected.check(torch.zeros(1, 4)).count == 0


@pytest.mark.parametrize(("dtype", "scales"), [("f16", "sf16"), ("f32", "sf16"), ("f32", "sf32")])
@pytest.mark.parametrize("fill", ["exact", "sparse", "onehot", "randn", "big", "tiny"])
def test_tf32_operands_may_be_cut(fill, dtype, scales):
    types = "".join(f"-{name}" for name in (dtype, scales) if name not in ("f16", "sf16"))
    expected, left, weight = problem(f"m9-n16-k64-b4-g16-act{types}-{fill}", TF32)
    out = round_to(cut(left, 11) @ cut(weight, 11), FORMATS[dtype])
    assert expected.check(out).count == 0


def test_tf32_operands_may_not_be_cut_to_bfloat16():
    expected, left, weight = problem("m9-n16-k64-b4-g16-act-f32-onehot", TF32)
    assert expected.check(round_to(cut(left, 8) @ cut(weight, 11), FORMATS["f32"])).count > 50


def test_a_zero_point_scaled_apart_may_turn_no_number_into_an_infinity():
    def one_infinity(values):
        values.codes[0] = values.zeros[0]
        values.left[:, 0] = torch.inf

    expected, left, weight = problem("m1-n4-k4-b8-gall-nonfinite", SCALED_ZERO, one_infinity)
    assert torch.isnan(left @ weight).all()
    assert expected.check(torch.full((1, 4), torch.inf)).count == 0


@pytest.mark.parametrize("fill", ["randn", "onehot", "big", "tiny"])
def test_no_share_of_the_bound_is_told_to_be_above_one(fill):
    expected, left, weight = problem(f"m33-n32-k16-b4-g16-act-{fill}", SCALED_ZERO)
    for side in (-1, 1):
        out = round_to(left @ weight + side * expected.error, F16)
        assert expected.check(out).count == 0
        assert 0.9 < expected.used(out) <= 1


def test_overflow_uses_nothing_of_the_bound_where_it_is_due():
    expected, left, weight = problem("m33-n32-k16-b4-g16-act-big", Numerics())
    out = round_to(left @ weight, F16)
    assert torch.isinf(out).any()
    assert expected.used(out) == 0


def test_overflow_on_the_way_uses_nothing_of_the_bound_where_it_may_be():
    """Two products that leave float16 and cancel: an infinity and the true sum are both right."""

    def cancelling(values):
        values.codes[:], values.zeros[:], values.scales[:] = 60, 0, 1.0
        values.left[:] = torch.tensor([1092.0, -1092.0, 0.0, 0.0])

    half = Numerics(accumulator="f16")
    expected, left, weight = problem("m1-n4-k4-b8-gall-randn", half, cancelling)
    assert not (left @ weight).any()
    out = torch.tensor([[0.0, torch.inf, -torch.inf, 0.0]], dtype=torch.float16)
    assert expected.check(out).count == 0
    assert expected.used(out) == 0
