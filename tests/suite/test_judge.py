"""The intervals: what must be accepted and refused, and that no element is passed over."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.case.case import FILLS, Case
from gptq_fuzz.oracle.judge import Expected
from gptq_fuzz.problem.fills import make_values
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.rounding import BF16, F16, FORMATS, round_to, spacing
from reference.matmul import dequantize

PLAIN = Numerics()
STRICT = Numerics(weights=("exact",), folds_zero=False)
SIZES = "m9-n16-k64-b4-g16-act"


class Problem:
    """A case, its weight [K, N] and left [M, K] in float64, and what is expected of it."""

    def __init__(self, case_line, numerics=PLAIN, values=None, capability=0):
        self.operands = Operands(Case.parse(case_line), "cpu", values=values)
        weights = self.operands.weights()
        self.bias = weights.pop("bias")
        self.weight, self.left = dequantize(**weights), self.operands.values.left
        self.expected = Expected(self.operands, self.weight, numerics, capability)
        self.fmt = FORMATS[self.operands.case.dtype]

    @property
    def right(self):
        """The reference, rounded once."""
        return round_to(self.left @ self.weight, self.fmt)

    def wrong(self, out):
        return self.expected.check(out).count


def one_step(out, fmt, sign):
    return out + sign * spacing(out, fmt)


def truncated(values):
    """float64 -> float16, rounded toward zero."""
    rounded = round_to(values, F16)
    return torch.where(
        rounded.abs() > values.abs(), rounded - spacing(values, F16) * values.sign(), rounded
    )


@pytest.mark.parametrize("fill", ["exact", "sparse"])
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_an_exact_fill_accepts_the_rounded_reference_and_no_neighbour(fill, dtype):
    problem = Problem(f"{SIZES}-{dtype}-{fill}")
    assert problem.wrong(problem.right) == 0
    for sign in (-1, 1):
        out = one_step(problem.right, problem.fmt, sign)
        assert problem.wrong(out) == out.numel()


@pytest.mark.parametrize("fill", FILLS)
def test_nan_passes_nowhere_that_a_number_is_due(fill):
    problem = Problem(f"{SIZES}-{fill}-s1")
    finite = torch.isfinite(problem.left @ problem.weight)
    assert finite.any()
    out = torch.full_like(problem.right, torch.nan)
    assert problem.expected.check(out).wrong[finite].all()


@pytest.mark.parametrize("fill", FILLS)
@given(at=st.tuples(st.integers(0, 8), st.integers(0, 15)))
def test_one_wrong_element_of_many_is_found(fill, at):
    problem = PROBLEMS[fill]
    out = problem.right.clone()
    out[at] = torch.nan if torch.isfinite(out[at]) else 1.0
    finding = problem.expected.check(out)
    assert finding.wrong.nonzero().tolist() == [list(at)]
    assert finding.worst() == at


PROBLEMS = {fill: Problem(f"{SIZES}-{fill}-s1") for fill in FILLS}


@pytest.mark.parametrize("weights_format", ["exact", "x"])
def test_one_product_may_have_its_weight_exact_or_rounded_once(weights_format):
    problem = Problem(f"{SIZES}-onehot")
    made = problem.weight if weights_format == "exact" else round_to(problem.weight, F16)
    assert problem.wrong(round_to(problem.left @ made, F16)) == 0


def test_a_rounding_that_is_not_declared_is_refused():
    problem = Problem(f"{SIZES}-onehot", STRICT)
    assert problem.wrong(round_to(problem.left @ round_to(problem.weight, F16), F16)) > 0


@pytest.mark.parametrize("fault", ["weights", "left", "scales"])
def test_one_product_shows_what_was_rounded_to_bfloat16(fault):
    problem = Problem(f"{SIZES}-onehot")
    values = problem.operands.values
    scales = round_to(values.scales, BF16) if fault == "scales" else values.scales
    weight = (values.codes - values.zeros[values.g_idx]) * scales[values.g_idx]
    weight = round_to(weight, BF16) if fault == "weights" else weight
    left = round_to(problem.left, BF16) if fault == "left" else problem.left
    assert problem.wrong(round_to(left @ weight, F16)) > 20


@pytest.mark.parametrize("fill", ["exact", "onehot"])
def test_truncation_is_refused(fill):
    problem = Problem(f"m9-n16-k512-b4-g16-act-{fill}")
    assert problem.wrong(truncated(problem.left @ problem.weight)) > 20


def test_one_product_shows_a_flushed_scale():
    problem = Problem(f"{SIZES}-onehot")
    values = problem.operands.values
    scales = torch.where(values.scales.abs() < 2**-14, 0.0, values.scales)[values.g_idx]
    weight = (values.codes - values.zeros[values.g_idx]) * scales
    assert problem.wrong(round_to(problem.left @ weight, F16)) > 0


def float32_sums(problem, order):
    terms = (problem.left[:, None] * problem.weight.T[None])[..., order].float()
    return round_to(terms.cumsum(-1)[..., -1].double(), problem.fmt)


@pytest.mark.parametrize("dtype", ["f16", "f32"])
@pytest.mark.parametrize("fill", ["randn", "big", "tiny"])
def test_float32_sums_in_any_order_lie_within_the_bound(fill, dtype):
    problem = Problem(f"m9-n16-k1040-b4-g16-act-{dtype}-{fill}")
    forward = torch.arange(1040)
    for order in (forward, forward.flip(0), forward.view(2, -1).T.flatten()):
        assert problem.wrong(float32_sums(problem, order)) == 0


GROWTH = [(16, 19.0), (56, 59.0), (1040, 8 * 1043**0.5 / (1 - 8 * 1043**0.5 * 2.0**-24))]


@pytest.mark.parametrize(("length", "growth"), GROWTH)
def test_the_bound_is_the_one_that_is_documented(length, growth):
    problem = Problem(f"m9-n16-k{length}-b4-g16-act-randn", STRICT)
    wanted = growth * 2.0**-24 * (problem.left.abs() @ problem.weight.abs())
    assert torch.allclose(problem.expected.error, wanted, rtol=1e-12, atol=0)


def test_the_bound_refuses_a_float16_accumulator_over_a_long_reduction():
    problem = Problem("m9-n16-k1040-b4-g16-act-randn")
    total = torch.zeros(9, 16, dtype=torch.float64)
    for k in range(1040):
        total = round_to(total + problem.left[:, k, None] * problem.weight[k], F16)
    assert problem.wrong(total) > 50


def test_the_bound_refuses_the_scale_of_another_group():
    problem = Problem("m9-n16-k64-b4-g16-randn")
    values = problem.operands.values
    g_idx = values.g_idx.clone()
    g_idx[16] = 0
    weight = (values.codes - values.zeros[g_idx]) * values.scales[g_idx]
    assert problem.wrong(round_to(problem.left @ weight, F16)) > 100


def test_tensor_cores_get_a_wider_bound_than_a_cpu():
    bounds = [
        Problem(f"{SIZES}-randn", capability=capability).expected.error
        for capability in (0, 90, 80)
    ]
    assert (bounds[0] < bounds[1]).all()
    assert (bounds[1] < bounds[2]).all()


def one_product(x, codes, fill):
    """x times `codes` with scale 1 and zero-point 0: a [1, 4] problem with chosen outputs."""
    case = Case.parse(f"m1-n4-k4-b8-gall-{fill}")
    left = torch.zeros(1, 4, dtype=torch.float64)
    left[0, 0] = x
    values = replace(make_values(case, "cpu"), left=left)
    values.codes[0], values.zeros[:], values.scales[:] = torch.tensor(codes), 0, 1.0
    return Problem(f"m1-n4-k4-b8-gall-{fill}", PLAIN, values)


# x = 1092 or -1092: 60 gives 65520, where overflow begins; 59 is finite, 61 is not
OVERFLOW = [
    # fill, outputs, which of the four are wrong
    ("onehot", [64416.0, 65504.0, torch.inf, torch.inf], [0, 0, 0, 0]),
    ("onehot", [64416.0, torch.inf, torch.inf, torch.inf], [0, 0, 0, 0]),
    ("onehot", [torch.inf, torch.inf, 65504.0, torch.nan], [1, 0, 1, 1]),
    ("onehot", [64416.0, 65472.0, -torch.inf, torch.inf], [0, 1, 1, 0]),
    ("sparse", [64416.0, torch.inf, torch.inf, torch.inf], [0, 0, 0, 0]),
    ("sparse", [64416.0, 65504.0, torch.inf, 65504.0], [0, 1, 0, 1]),
]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("fill", "out", "wrong"), OVERFLOW)
def test_infinity_is_due_where_rounding_overflows_and_both_are_right_at_its_edge(
    fill, out, wrong, sign
):
    problem = one_product(1092.0 * sign, [59, 60, 61, 255], fill)
    found = problem.expected.check(sign * torch.tensor([out]))
    assert found.wrong.int().tolist() == [wrong]


def test_the_bias_is_added_to_the_rounded_sum_or_to_the_sum_as_declared():
    after, before = (
        Problem("m9-n16-k512-b4-g16-bias", Numerics(bias_after=choice)) for choice in (True, False)
    )
    twice = round_to(after.right + after.bias.double(), F16)
    once = round_to(after.left @ after.weight + after.bias.double(), F16)
    assert (after.wrong(twice), before.wrong(once)) == (0, 0)
    assert after.wrong(once) == before.wrong(twice) == int((once != twice).sum()) > 0
    assert after.wrong(after.right) > 100


@pytest.mark.parametrize("seed", range(3))
def test_special_values_are_judged_by_their_places(seed):
    problem = Problem(f"{SIZES}-nonfinite-s{seed}", STRICT)
    right = problem.left @ problem.weight
    assert problem.wrong(round_to(right, F16)) == 0
    special = ~torch.isfinite(right)
    hidden = problem.expected.check(torch.where(special, 0.0, round_to(right, F16)))
    assert torch.equal(hidden.wrong, special)
    spread = problem.expected.check(torch.full_like(right, torch.nan))
    assert spread.wrong[~special].all()


def test_a_backward_problem_is_judged_along_the_columns():
    problem = Problem("m5-n32-k16-b4-g5-act-bwd")
    right = round_to(problem.left @ problem.weight.T, F16)
    assert right.shape == (5, 16)
    assert problem.wrong(right) == 0
    assert problem.wrong(one_step(right, F16, 1)) == right.numel()


def test_a_part_is_judged_against_its_part():
    problem = PROBLEMS["exact"]
    rows, columns = slice(3, 5), slice(8, 16)
    assert problem.expected.check(problem.right[rows, columns], rows, columns).count == 0
    assert problem.expected.check(problem.right[:2, columns], rows, columns).count > 0


def test_a_finding_says_how_many_and_how_far():
    problem = PROBLEMS["exact"]
    out = problem.right.clone()
    out[2, 3] += 1000
    text = problem.expected.check(out).describe()
    assert text.startswith(f"1 of 144 elements; worst out[2, 3] = {out[2, 3]:.6g}, ref = ")
    assert "|error| / bound = " in text


def test_the_share_of_the_bound_is_told_without_the_last_rounding():
    problem = Problem(f"{SIZES}-randn")
    assert problem.expected.used(problem.right) == 0
    moved = problem.left @ problem.weight + problem.expected.error / 2
    assert 0 < problem.expected.used(round_to(moved, F16)) <= 1
