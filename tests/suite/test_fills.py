"""Each fill is fit for the oracle that judges it."""

import math

import pytest
import torch

from gptq_fuzz.case.case import BITS, FILLS, Case
from gptq_fuzz.problem.fills import make_values
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.rounding import BF16, F16, FORMATS, round_to
from reference.matmul import dequantize

LARGE = "m16-n32-k256-b4-g32-{}-s3"
EXACT = [
    "m5-n16-k16-b2-g3-act",
    "m5-n8-k512-b4-g32",
    "m5-n4-k1040-b8-g48-zmax",
    "m5-n4-k40000-b8-gall",
    "m5-n64-k16-b8-g5-act-bwd",
    "m5-n8-k64-b4-g5-bf16-sbf16",
    "m5-n8-k64-b4-g5-f32-sf32",
]


def problem(case_line):
    case = Case.parse(case_line)
    return case, make_values(case, "cpu")


def reference(case_line):
    """[M, N] float64"""
    operands = Operands(Case.parse(case_line), "cpu")
    weights = operands.weights()
    weights.pop("bias")
    return operands.values.left @ dequantize(**weights)


def products(case, values):
    """[M, J, R] float64: the terms of each output, and the magnitudes that may not overflow."""
    g_idx = values.g_idx
    codes, zeros, scales = values.codes, values.zeros[g_idx], values.scales[g_idx]
    weight, larger = (codes - zeros) * scales, (codes + zeros) * scales
    if case.backward:
        weight, larger = weight.T, larger.T
    left = values.left[:, None, :]
    return left * weight.T[None], left.abs() * larger.T[None]


@pytest.mark.parametrize("case_line", EXACT)
def test_exact_sums_stay_below_the_steps_of_a_float32_accumulator(case_line):
    case, values = problem(case_line)
    terms, magnitudes = products(case, values)
    step = values.scales.min(0).values
    step = step.min() if case.backward else step[:, None]
    assert (magnitudes / step).sum(2).max() < 2**24
    assert (terms / step).frac().abs().max() == 0
    assert terms.sum(2).abs().max() < 65504


@pytest.mark.parametrize("case_line", EXACT)
def test_exact_sums_stay_below_those_steps_whatever_the_codes_are(case_line):
    case, values = problem(case_line)
    terms = (values.left != 0).sum(1).max() * values.left.abs().max()
    spread = (values.scales.max(0).values / values.scales.min(0).values).max()
    assert terms * 2 * case.maxq * spread < 2**24


@pytest.mark.parametrize("case_line", EXACT)
def test_exact_sums_are_exact_in_float32_in_any_order(case_line):
    terms = products(*problem(case_line))[0]
    order = torch.randperm(terms.shape[2], generator=torch.Generator().manual_seed(1))
    for arranged in (terms, terms.flip(2), terms[:, :, order]):
        assert torch.equal(arranged.float().cumsum(2).double(), arranged.cumsum(2))


@pytest.mark.parametrize("case_line", EXACT[1:3])
def test_exact_sums_show_a_float16_accumulator(case_line):
    terms = products(*problem(case_line))[0]
    assert not torch.equal(float16_sums(terms)[..., -1], round_to(terms.sum(2), F16))


def float16_sums(terms):
    """Every partial sum of an accumulator that rounds to float16 at each step."""
    sums, total = [], torch.zeros_like(terms[..., 0])
    for term in terms.unbind(-1):
        total = round_to(total + round_to(term, F16), F16)
        sums.append(total)
    return torch.stack(sums, -1)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("direction", ["", "-bwd"])
def test_sparse_sums_are_exact_even_in_float16(bits, direction):
    for seed in range(4):
        terms = products(*problem(f"m9-n32-k64-b{bits}-g5-act{direction}-sparse-s{seed}"))[0]
        assert torch.equal(float16_sums(terms), terms.cumsum(-1))
        assert torch.equal(float16_sums(terms.flip(-1)), terms.flip(-1).cumsum(-1))


def test_sparse_rows_touch_the_first_and_the_last_of_the_reduction():
    touched = (problem("m16-n8-k72-b4-g32-sparse")[1].left != 0).any(0)
    assert touched[[0, 7, 8, 31, 32, 63, 64, 71]].all()


@pytest.mark.parametrize("fill", ["onehot", "lanes"])
def test_one_hot_rows_have_one_non_zero_and_meet_the_edges(fill):
    left = problem(f"m40-n8-k72-b4-g32-{fill}")[1].left
    assert ((left != 0).sum(1) == 1).all()
    assert (left != 0).any(0)[[0, 7, 8, 31, 32, 63, 64, 71]].all()


@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_one_hot_mantissas_are_too_long_for_bfloat16(dtype):
    values = problem(f"m40-n8-k72-b4-g8-{dtype}-s{dtype}-onehot")[1]
    left = values.left[values.left != 0]
    for numbers in (left[left.abs() > 2**-13], values.scales[values.scales.abs() > 2**-13]):
        assert numbers.numel() > 10
        assert (round_to(numbers, BF16) != numbers).all()


def test_one_hot_has_subnormal_scales_and_rows():
    values = problem(LARGE.format("onehot").replace("m16", "m64"))[1]
    assert (values.scales.abs() < 2**-14).any()
    assert ((values.left != 0) & (values.left.abs() < 2**-14)).any()


def test_lanes_tell_the_scales_of_neighbours_apart():
    scales = problem("m1-n16-k32-b4-g8-lanes")[1].scales
    assert scales.unique().numel() == scales.numel() == 64


def test_tiny_scales_and_products_reach_the_subnormals():
    values, out = problem(LARGE.format("tiny"))[1], reference(LARGE.format("tiny")).abs()
    assert (values.scales > 0).all()
    assert (values.scales < 2**-14).any()
    assert ((out > 0) & (out < 2**-14)).any()


def test_big_outputs_lie_on_both_sides_of_overflow_and_weights_below_it():
    case_line = LARGE.format("big")
    out = reference(case_line).abs()
    assert (out > 65520).any()
    assert (out < 65504).any()
    case, values = problem(case_line)
    assert (case.maxq * values.scales).max() <= 65504


@pytest.mark.parametrize("seed", range(12))
def test_nonfinite_has_a_special_value_where_all_rows_are_one(seed):
    values = problem(f"m5-n8-k16-b4-gall-bcast-nonfinite-s{seed}")[1]
    assert not (torch.isfinite(values.left).all() and torch.isfinite(values.scales).all())


@pytest.mark.parametrize("seed", range(3))
def test_nonfinite_has_special_values_and_finite_outputs(seed):
    case_line = f"m16-n32-k64-b4-g32-nonfinite-s{seed}"
    values, out = problem(case_line)[1], reference(case_line)
    assert torch.isfinite(values.left).all() == (seed == 1)
    assert torch.isfinite(values.scales).all() == (seed == 0)
    assert torch.isfinite(out).any()
    assert not torch.isfinite(out).all()


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("types", ["f16-sf16", "bf16-sbf16", "f32-sf32", "bf16-sf16", "f16-sbf16"])
def test_every_number_is_a_value_of_the_dtype_that_stores_it(fill, types):
    case, values = problem(f"m9-n16-k64-b4-g24-{types}-bias-{fill}")
    pairs = (
        (values.left, case.dtype),
        (values.scales, case.scales_dtype[1:]),
        (values.bias, case.dtype),
    )
    for numbers, name in pairs:
        finite = numbers[torch.isfinite(numbers)]
        assert torch.equal(round_to(finite, FORMATS[name]), finite)
        assert finite.count_nonzero()


@pytest.mark.parametrize("seed", [2, 5, 8])
def test_a_special_scale_is_of_one_kind_for_sure_in_the_first_group_alone(seed):
    values = problem(f"m2-n4-k256-b8-g1-nonfinite-s{seed}")[1]
    column = values.scales[:, seed % 4]
    kinds = {str(scale) for scale in column[1:].tolist() if not math.isfinite(scale)}
    assert str(column[0].item()) == ("nan", "inf", "-inf")[seed // 3 % 3]
    assert kinds == {"nan", "inf", "-inf"}
