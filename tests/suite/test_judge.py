"""The intervals: what must be accepted and refused, and that no element is passed over."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gptq_fuzz.case.axes import FILLS, HEAVY
from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.problem.rounding import BF16, F16, FORMATS, round_to, spacing
from tests.suite.helpers import Judged

STRICT = Numerics(weights=("exact",), folds_zero=False)
FLOAT16_SUMS = Numerics(weights=("x",), folds_zero=False, accumulator="f16", partial="f16")
TF32 = Numerics(weights=("exact",), folds_zero=False, tf32=True)
SCALED_ZERO = Numerics(weights=("exact",), folds_zero=False, scaled_zero=True)
SIZES = "m9-n16-k64-b4-g16-act"
JUDGED = {fill: Judged(f"{SIZES}-{fill}-s1") for fill in FILLS}


def truncated(values):
    """float64 -> float16, rounded toward zero."""
    rounded = round_to(values, F16)
    return torch.where(
        rounded.abs() > values.abs(), rounded - spacing(values, F16) * values.sign(), rounded
    )


def cut(values, digits):
    """float64 values cut to so many digits."""
    step = spacing(values, FORMATS["f32"]) * 2 ** (24 - digits)
    return (values / step).trunc() * step


def float16_sums(left, weight, fused=False):
    total = torch.zeros(len(left), weight.shape[1], dtype=torch.float64)
    for k, row in enumerate(weight):
        product = left[:, k, None] * row
        total = round_to(total + (product if fused else round_to(product, F16)), F16)
    return total


@pytest.mark.parametrize("fill", ["exact", "sparse"])
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_an_exact_fill_accepts_the_rounded_reference_and_no_neighbour(fill, dtype):
    judged = Judged(f"{SIZES}-{dtype}-{fill}")
    assert judged.wrong(judged.right) == 0
    for sign in (-1, 1):
        neighbour = judged.right + sign * spacing(judged.right, judged.fmt)
        assert judged.wrong(neighbour) == neighbour.numel()


@pytest.mark.parametrize("fill", [fill for fill in FILLS if fill != HEAVY])
def test_nan_passes_nowhere_that_a_number_is_due(fill):
    judged = JUDGED[fill]
    finite = torch.isfinite(judged.exact)
    assert finite.any()
    out = torch.full_like(judged.right, torch.nan)
    assert judged.expected.check(out).wrong[finite].all()


# A weight of `heavy` that is rounded may be infinite
@pytest.mark.parametrize("fill", FILLS)
@given(at=st.tuples(st.integers(0, 8), st.integers(0, 15)))
def test_one_wrong_element_of_many_is_found(fill, at):
    out = JUDGED[fill].right.clone()
    out[at] = torch.nan if torch.isfinite(out[at]) and fill != HEAVY else 1.0
    mismatch = JUDGED[fill].expected.check(out)
    assert mismatch.wrong.nonzero().tolist() == [list(at)]
    assert mismatch.worst() == at


@pytest.mark.parametrize(("numerics", "rounded_is_right"), [(None, True), (STRICT, False)])
def test_one_product_may_have_its_weight_exact_or_rounded_once_as_declared(
    numerics, rounded_is_right
):
    judged = Judged(f"{SIZES}-onehot", numerics)
    assert judged.wrong(judged.right) == 0
    rounded = judged.rounded(judged.left @ round_to(judged.weight, F16))
    assert (judged.wrong(rounded) == 0) == rounded_is_right


FAULTS = {
    # what changes x, (q - z) and s before they are multiplied, and elements that are wrong at least
    "x in bfloat16": (lambda x, q, s: (round_to(x, BF16), q, s), 21),
    "scales in bfloat16": (lambda x, q, s: (x, q, round_to(s, BF16)), 21),
    "weights in bfloat16": (lambda x, q, s: (x, round_to(q * s, BF16), 1.0), 21),
    "scales flushed": (lambda x, q, s: (x, q, torch.where(s.abs() < 2**-14, 0.0, s)), 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_product_shows_what_was_rounded(fault):
    judged = Judged(f"{SIZES}-onehot")
    values = judged.operands.values
    centred = (values.codes - values.zeros[values.g_idx]).double()
    change, least = FAULTS[fault]
    left, codes, scales = change(judged.left, centred, values.scales[values.g_idx])
    assert judged.wrong(judged.rounded(left @ (codes * scales))) >= least


@pytest.mark.parametrize("fill", ["exact", "onehot"])
def test_truncation_is_refused(fill):
    judged = Judged(f"m9-n16-k512-b4-g16-act-{fill}")
    assert judged.wrong(truncated(judged.exact)) > 20


@pytest.mark.parametrize("dtype", ["f16", "f32"])
@pytest.mark.parametrize("fill", ["randn", "big", "tiny"])
def test_float32_sums_in_any_order_lie_within_the_bound(fill, dtype):
    judged = Judged(f"m9-n16-k1040-b4-g16-act-{dtype}-{fill}")
    forward = torch.arange(1040)
    for order in (forward, forward.flip(0), forward.view(2, -1).T.flatten()):
        terms = (judged.left[:, None] * judged.weight.T[None])[..., order].float()
        assert judged.wrong(judged.rounded(terms.cumsum(-1)[..., -1].double())) == 0


GROWTH = [(16, 19.0), (56, 59.0), (1040, 8 * 1043**0.5 / (1 - 8 * 1043**0.5 * 2.0**-24))]


@pytest.mark.parametrize(("length", "growth"), GROWTH)
def test_the_bound_is_the_one_that_is_documented(length, growth):
    judged = Judged(f"m9-n16-k{length}-b4-g16-act-randn", STRICT)
    wanted = growth * 2.0**-24 * (judged.left.abs() @ judged.weight.abs())
    assert torch.allclose(judged.expected.error, wanted, rtol=1e-12, atol=0)


def test_the_bound_refuses_a_float16_accumulator_over_a_long_reduction():
    judged = Judged("m9-n16-k1040-b4-g16-act-randn")
    assert judged.wrong(float16_sums(judged.left, judged.weight, fused=True)) > 50


def test_the_bound_refuses_the_scale_of_another_group():
    judged = Judged("m9-n16-k64-b4-g16-randn")
    values = judged.operands.values
    g_idx = values.g_idx.clone()
    g_idx[16] = 0
    weight = (values.codes - values.zeros[g_idx]) * values.scales[g_idx]
    assert judged.wrong(judged.rounded(judged.left @ weight)) > 100


def test_tensor_cores_get_a_wider_bound_than_a_cpu():
    cpu, hopper, ampere = (
        Judged(f"{SIZES}-randn", capability=capability).expected.error for capability in (0, 90, 80)
    )
    assert (cpu < hopper).all()
    assert (hopper < ampere).all()


def test_tensor_cores_align_subnormal_operands_as_if_they_were_normal():
    """-9032 times a weight of 6 2^-24, aligned as if it were 2^-14."""

    def two_terms(values):
        values.codes[:], values.zeros[:], values.scales[:] = 6, 0, 2.0**-24
        values.left = torch.tensor([[-9032.0, 2.0**-14, 0, 0]], dtype=torch.float64)

    line, strict = "m1-n4-k4-b8-gall-randn", Numerics(weights=("x",), folds_zero=False)
    on_cpu, on_hopper = (Judged(line, strict, two_terms, c).expected.error for c in (0, 90))
    assert (on_hopper - on_cpu > 9032 * 2.0**-14 * 2.0**-25).all()
    bfloat = (Judged("m1-n4-k4-b8-gall-bf16-randn", strict, two_terms, c) for c in (0, 90))
    cpu, hopper = (judged.expected.error for judged in bfloat)
    assert (hopper - cpu < 9032 * 2.0**-14 * 2.0**-25).all()


# x = 1092 or -1092: 60 gives 65520, where overflow begins; 59 is finite, 61 is not
OVERFLOW = [
    # fill, outputs, which of the four are wrong
    ("onehot", [64416.0, torch.inf, torch.inf, torch.inf], [0, 0, 0, 0]),
    ("onehot", [torch.inf, torch.inf, 65504.0, torch.nan], [1, 0, 1, 1]),
    ("onehot", [64416.0, 65472.0, -torch.inf, torch.inf], [0, 1, 1, 0]),
    ("sparse", [64416.0, torch.inf, torch.inf, torch.inf], [0, 0, 0, 0]),
    ("sparse", [64416.0, 65504.0, torch.inf, 65504.0], [0, 1, 0, 1]),
]


def four_products(row, codes):
    """Values of a [1, 4] x [4, 4] problem with this row of x and these codes alone."""

    def change(values):
        values.codes[:], values.zeros[:], values.scales[:] = torch.tensor(codes), 0, 1.0
        values.left = torch.tensor([row], dtype=torch.float64)

    return change


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("fill", "out", "wrong"), OVERFLOW)
def test_infinity_is_due_where_rounding_overflows(fill, out, wrong, sign):
    change = four_products([1092.0 * sign, 0, 0, 0], [59, 60, 61, 255])
    expected = Judged(f"m1-n4-k4-b8-gall-{fill}", change=change).expected
    assert expected.check(sign * torch.tensor([out])).wrong.int().tolist() == [wrong]


def test_the_bias_is_added_to_the_rounded_sum_or_to_the_sum_as_declared():
    after, before = (
        Judged("m9-n16-k512-b4-g16-bias", Numerics(bias_after=choice)) for choice in (True, False)
    )
    twice = round_to(after.right + after.bias.double(), F16)
    once = round_to(after.exact + after.bias.double(), F16)
    assert (after.wrong(twice), before.wrong(once)) == (0, 0)
    assert before.wrong(twice) == int((once != twice).sum()) > 0
    assert after.wrong(once) == 0  # better than declared
    assert after.wrong(after.right) > 100


# The first is exactly -1.75146481162; in float32 the tie -1.75146484375, in float16 -1.751953125
TO_A_TIE = ("m88-n8-k8-b4-gall-v2-bias-tiny-s1", "m100-n132-k8-b8-g8-act-zsym-biaslow-s149")


@pytest.mark.parametrize("line", TO_A_TIE)
@pytest.mark.parametrize("declared", [None, False, True])
def test_a_float32_sum_of_bias_and_products_may_round_to_a_tie(declared, line):
    judged = Judged(line, Numerics(bias_after=declared))
    sums = (judged.exact + judged.bias.double()).float().double()
    out = judged.rounded(sums)
    assert (out != judged.rounded(judged.exact + judged.bias.double())).any()
    assert judged.wrong(out) == 0
    assert judged.wrong(out + 2 * spacing(out, F16)) > 600


def test_weights_are_rounded_alike_or_not_at_all():
    judged = Judged(f"{SIZES}-onehot")
    exact, once = judged.right, judged.rounded(judged.left @ round_to(judged.weight, F16))
    mixed = torch.cat([exact[:, :8], once[:, 8:]], 1)
    assert (exact != once).any(0).count_nonzero() > 8
    mismatch = judged.expected.check(mixed)
    assert mismatch.count == min((mixed != exact).sum(), (mixed != once).sum()) > 0
    assert mismatch.describe().endswith("alone, others with exact ones alone")
    declared = Numerics(weights=("x",), folds_zero=False)  # not to round is better than that
    assert Judged(f"{SIZES}-onehot", declared).wrong(exact) == 0


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_zero_points_stored_as_floats_are_judged_as_they_are_stored(dtype):
    line = f"{SIZES}-{dtype}-onehot"
    handed, plain = (Judged(line, Numerics(folds_zero=False, zero=zero)) for zero in FLOAT_OR_INT)
    values = handed.operands.values
    rows, scales = values.g_idx, values.scales
    stored = round_to((8 - values.zeros) * scales, handed.fmt)
    out = handed.rounded(handed.left @ ((values.codes - 8) * scales[rows] + stored[rows]))
    assert handed.wrong(out) == 0
    assert plain.wrong(out) > 10
    assert handed.wrong(plain.right) > 10
    with pytest.raises(ValueError, match='zero must be "int" or "float"'):
        Numerics(zero="half")


FLOAT_OR_INT = ("float", "int")


def test_codes_and_zero_points_may_be_counted_from_the_middle():
    """s x (q - 8) - s x (z - 8), each rounded to float32: more than the rounding of (q + z) s x."""
    judged = Judged("m64-n64-k64-b4-g16-f32-sf32-onehot")
    values = judged.operands.values
    scales = judged.left.float() @ values.scales[values.g_idx].float()
    row = judged.left.abs().argmax(1)
    codes, zeros = values.codes[row].float(), values.zeros[values.g_idx[row]].float()
    out = scales * (codes - 8) - scales * (zeros - 8)
    assert judged.wrong(out.double()) == 0


def test_sums_that_cancel_are_exact_as_far_as_the_declared_digits_reach():
    line = "m60-n16-k64-b4-g16-z0-cancel"
    judged = Judged(line, STRICT)
    assert judged.wrong(judged.right) == 0
    assert not judged.expected.error.any()
    assert judged.wrong(judged.right + spacing(judged.right, F16)) == judged.right.numel()
    short = Numerics(weights=("exact",), folds_zero=False, aligned_bits=14)
    on_tensor_cores = Judged(line, short, capability=90).expected
    depth = torch.log2(judged.left.abs().amax(1) * 2**9)
    assert torch.equal(on_tensor_cores.error.any(1), depth > 12)
    assert not Judged(line, STRICT, capability=90).expected.error.any()


def test_steps_below_the_smallest_subnormal_of_a_sum_are_rounded():
    """7.5 steps of 2^-24 in two parts, each rounded to float16: 7 and 0 are as right as 8."""

    def halves(values):
        values.codes[:], values.zeros[:], values.scales[:] = 1, 0, 2.0**-24
        values.left = torch.tensor([[7.0, 0, 0, 0.5]], dtype=torch.float64)

    for numerics, wrong in ((FLOAT16_SUMS, 0), (STRICT, 4)):
        judged = Judged("m1-n4-k4-b8-gall-sparse", numerics, halves)
        assert judged.wrong(torch.full((1, 4), 7 * 2.0**-24)) == wrong


@pytest.mark.parametrize("seed", range(3))
def test_special_values_are_judged_by_their_places(seed):
    judged = Judged(f"{SIZES}-nonfinite-s{seed}", STRICT)
    assert judged.wrong(judged.right) == 0
    special = ~torch.isfinite(judged.exact)
    hidden = judged.expected.check(torch.where(special, 0.0, judged.right))
    assert torch.equal(hidden.wrong, special)
    spread = judged.expected.check(torch.full_like(judged.right, torch.nan))
    assert spread.wrong[~special].all()


def test_an_infinite_bias_is_the_result_where_the_sum_is_finite():
    def first_infinite(values):
        values.bias[:2] = torch.tensor([torch.inf, -torch.inf])
        values.bias[2:] = 0.0

    for numerics in (STRICT, None):
        judged = Judged("m2-n4-k4-b8-gall-bias-masked-s1", numerics, first_infinite)
        right = judged.right + judged.bias.double()
        assert judged.wrong(right) == 0
        for other in (-right, torch.full_like(right, torch.nan), torch.zeros_like(right)):
            assert judged.expected.check(other).wrong[:, :2].all()


def test_a_backward_problem_is_judged_along_the_columns():
    judged = Judged("m5-n32-k16-b4-g5-act-bwd")
    right = judged.rounded(judged.left @ judged.weight.T)
    assert right.shape == (5, 16)
    assert judged.wrong(right) == 0
    assert judged.wrong(right + spacing(right, F16)) == right.numel()


def test_a_part_is_judged_against_its_part():
    judged = JUDGED["exact"]
    rows, columns = slice(3, 5), slice(8, 16)
    assert judged.expected.check(judged.right[rows, columns], rows, columns).count == 0
    assert judged.expected.check(judged.right[:2, columns], rows, columns).count > 0


def test_a_mismatch_says_how_many_and_how_far():
    out = JUDGED["exact"].right.clone()
    out[2, 3] += 1000
    text = JUDGED["exact"].expected.check(out).describe()
    assert text.startswith(f"1 of 144 elements; worst out[2, 3] = {out[2, 3]:.6g}, ref = ")
    assert "|error| / bound = " in text


@pytest.mark.parametrize("fill", ["exact", "sparse", "onehot", "randn", "tiny"])
@pytest.mark.parametrize("length", [16, 512])
def test_a_declared_float16_accumulator_is_right_on_every_fill(fill, length):
    judged = Judged(f"m9-n16-k{length}-b4-g16-act-{fill}", FLOAT16_SUMS)
    assert judged.wrong(float16_sums(judged.left, round_to(judged.weight, F16))) == 0


def test_a_declared_float16_accumulator_may_not_lose_what_it_can_hold():
    judged = Judged(f"{SIZES}-sparse", FLOAT16_SUMS)
    assert judged.wrong(judged.right) == 0
    assert judged.wrong(judged.right + spacing(judged.right, F16)) == judged.right.numel()


@pytest.mark.parametrize(("numerics", "wrong"), [(FLOAT16_SUMS, 0), (Numerics(), 4)])
def test_a_float16_partial_sum_may_overflow_where_a_float32_one_may_not(numerics, wrong):
    opposite = four_products([40000.0, 40000, -40000, -40000], 1)
    judged = Judged("m1-n4-k4-b8-gall-randn", numerics, opposite)
    for value in (torch.nan, torch.inf, -torch.inf):
        assert judged.wrong(torch.full((1, 4), value)) == wrong
    assert judged.wrong(torch.zeros(1, 4)) == 0


@pytest.mark.parametrize(("dtype", "scales"), [("f16", "sf16"), ("f32", "sf16"), ("f32", "sf32")])
@pytest.mark.parametrize("fill", ["exact", "sparse", "onehot", "randn", "big", "tiny"])
def test_tf32_operands_may_be_cut(fill, dtype, scales):
    judged = Judged(f"{SIZES}-{dtype}-{scales}-{fill}", TF32)
    assert judged.wrong(judged.rounded(cut(judged.left, 11) @ cut(judged.weight, 11))) == 0


def test_tf32_operands_may_not_be_cut_to_bfloat16():
    judged = Judged(f"{SIZES}-f32-onehot", TF32)
    assert judged.wrong(judged.rounded(cut(judged.left, 8) @ cut(judged.weight, 11))) > 50


def test_a_zero_point_scaled_apart_may_turn_no_number_into_an_infinity():
    def one_infinity(values):
        values.codes[0] = values.zeros[0]
        values.left[:, 0] = torch.inf

    judged = Judged("m1-n4-k4-b8-gall-nonfinite", SCALED_ZERO, one_infinity)
    assert torch.isnan(judged.exact).all()
    assert judged.wrong(torch.full((1, 4), torch.inf)) == 0


def test_the_share_of_the_bound_is_measured_without_the_last_rounding():
    judged = Judged(f"{SIZES}-randn")
    assert judged.expected.used(judged.right) == 0
    moved = judged.exact + judged.expected.error / 2
    assert 0 < judged.expected.used(judged.rounded(moved)) <= 1


@pytest.mark.parametrize("fill", ["randn", "onehot", "big", "tiny"])
def test_no_share_of_the_bound_is_above_one(fill):
    judged = Judged(f"m33-n32-k16-b4-g16-act-{fill}", SCALED_ZERO)
    for side in (-1, 1):
        out = judged.rounded(judged.exact + side * judged.expected.error)
        assert judged.wrong(out) == 0
        assert 0.9 < judged.expected.used(out) <= 1


def test_overflow_uses_nothing_of_the_bound_where_it_is_due():
    judged = Judged("m33-n32-k16-b4-g16-act-big")
    assert torch.isinf(judged.right).any()
    assert judged.expected.used(judged.right) == 0


def test_overflow_on_the_way_uses_nothing_of_the_bound_where_it_may_be():
    """Two products that leave float16 and cancel: an infinity and the true sum are both right."""
    cancelling = four_products([1092.0, -1092.0, 0, 0], 60)
    judged = Judged("m1-n4-k4-b8-gall-randn", Numerics(accumulator="f16"), cancelling)
    assert not (judged.exact).any()
    out = torch.tensor([[0.0, torch.inf, -torch.inf, 0.0]], dtype=torch.float16)
    assert judged.wrong(out) == 0
    assert judged.expected.used(out) == 0
