"""The judge rounds once, to nearest even: compared with a table of all values, and with numpy."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gptq_fuzz.problem.rounding import (
    BF16,
    F16,
    F32,
    FORMATS,
    last_digit,
    round_to,
    spacing,
    truncation_error,
)

BITS = {"f16": (torch.float16, 0x7C00), "bf16": (torch.bfloat16, 0x7F80)}  # patterns below infinity
NUMPY = {"f16": np.float16, "f32": np.float32}


def all_values(name):
    """Every finite value of a 16-bit format from 0 up, as float64."""
    dtype, infinity = BITS[name]
    return torch.arange(infinity, dtype=torch.int16).view(dtype).double()


def numpy_rounded(values, name):
    with np.errstate(all="ignore"):
        return torch.from_numpy(values.numpy().astype(NUMPY[name]).astype(np.float64))


def random_patterns(count, seed):
    """float64 of any bit pattern, and as many whose exponents lie near those of float16."""
    random = np.random.default_rng(seed)
    wild = random.integers(-(2**63), 2**63, count).view(np.float64)
    near = np.ldexp(random.uniform(-2, 2, count), random.integers(-30, 20, count))
    return torch.from_numpy(np.concatenate([wild, near]))


def same(left, right):
    return torch.equal(left.nan_to_num(nan=0.5), right.nan_to_num(nan=0.5)) and torch.equal(
        torch.isnan(left), torch.isnan(right)
    )


@pytest.mark.parametrize("name", NUMPY)
def test_random_bit_patterns_round_as_numpy_rounds_them(name):
    values = random_patterns(20_000, seed=1)
    assert same(round_to(values, FORMATS[name]), numpy_rounded(values, name))


@pytest.mark.parametrize("name", BITS)
def test_every_value_stays_itself(name):
    values = all_values(name)
    assert torch.equal(round_to(values, FORMATS[name]), values)
    assert torch.equal(round_to(-values, FORMATS[name]), -values)


@pytest.mark.parametrize("name", BITS)
def test_every_tie_goes_to_the_even_neighbour(name):
    values = all_values(name)
    low, high = values[:-1], values[1:]
    even = torch.where(torch.arange(len(low)) % 2 == 0, low, high)
    assert torch.equal(round_to((low + high) / 2, FORMATS[name]), even)


@pytest.mark.parametrize("name", BITS)
def test_a_hair_beside_every_tie_goes_to_the_nearer_neighbour(name):
    values = all_values(name)
    low, high = values[:-1], values[1:]
    tie = (low + high) / 2
    infinity = torch.full_like(tie, torch.inf)
    assert torch.equal(round_to(torch.nextafter(tie, -infinity), FORMATS[name]), low)
    assert torch.equal(round_to(torch.nextafter(tie, infinity), FORMATS[name]), high)


def test_rounding_twice_would_be_seen():
    """1 + 2^-11 + 2^-30 lies above a tie of float16; through float32 it would lie on it."""
    value = torch.tensor([1 + 2.0**-11 + 2.0**-30], dtype=torch.float64)
    assert round_to(value, F16).item() == 1 + 2.0**-10
    assert value.float().half().item() == 1.0


LARGEST = [
    # format, its largest value, and the tie above it that is the first to overflow
    ("f16", 65504.0, 65520.0),
    ("bf16", float.fromhex("0x1.fep127"), float.fromhex("0x1.ffp127")),
    ("f32", float.fromhex("0x1.fffffep127"), float.fromhex("0x1.ffffffp127")),
]


@pytest.mark.parametrize(("name", "largest", "tie"), LARGEST)
def test_overflow_begins_half_a_step_above_the_largest_value(name, largest, tie):
    below = np.nextafter(tie, 0)
    values = torch.tensor([below, tie, -below, -tie, 1e300], dtype=torch.float64)
    wanted = [largest, torch.inf, -largest, -torch.inf, torch.inf]
    assert round_to(values, FORMATS[name]).tolist() == wanted


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)
def test_zeros_infinities_and_nan_stay(fmt):
    values = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan], dtype=torch.float64)
    rounded = round_to(values, fmt)
    assert rounded[:4].tolist() == [0.0, 0.0, torch.inf, -torch.inf]
    assert torch.signbit(rounded[:4]).tolist() == [False, True, False, True]
    assert torch.isnan(rounded[4])


@example(5e-324)
@example(2.0**-25)
@example(65520.0)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_one_rounding_moves_a_value_by_at_most_half_the_spacing(value):
    there = torch.tensor([value], dtype=torch.float64)
    for fmt in (F16, BF16, F32):
        moved = (round_to(there, fmt) - there).abs()
        assert torch.isinf(moved) or moved <= truncation_error(there, fmt)


def test_the_spacing_is_that_of_the_format():
    values = torch.tensor([1.0, 1.5, 2.0, 1024.0, 2.0**-14, 2.0**-20, 0.0], dtype=torch.float64)
    steps = [2.0**-10, 2.0**-10, 2.0**-9, 1.0, 2.0**-24, 2.0**-24, 2.0**-24]
    assert spacing(values, F16).tolist() == steps


@pytest.mark.parametrize("name", FORMATS)
def test_the_constants_are_those_of_torch(name):
    fmt = FORMATS[name]
    about = torch.finfo(fmt.torch_dtype)
    assert (fmt.largest, fmt.smallest) == (about.max, about.smallest_normal * about.eps)
    assert fmt.unit_roundoff == about.eps / 2


@given(st.integers(1, 2**53 - 1), st.integers(-1020, 970))
def test_the_last_digit_is_the_largest_power_of_two_that_divides(whole, exponent):
    value = torch.tensor([whole, -whole], dtype=torch.float64) * 2.0**exponent
    assert last_digit(value).tolist() == [(whole & -whole) * 2.0**exponent] * 2


def test_nothing_divides_what_is_no_number_and_all_divides_zero():
    values = torch.tensor([torch.nan, torch.inf, -torch.inf, 5e-324, 0.0, -0.0]).double()
    values[3] = 5e-324
    assert last_digit(values).tolist() == [0, 0, 0, 0, torch.inf, torch.inf]
