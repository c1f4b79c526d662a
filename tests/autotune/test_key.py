"""Which calls a tuner takes for the same, and which arguments its key refuses."""

import types

import pytest
import torch

from kernels.custom_autotune.key import TuningKey

NAMES = ("x", "M", "flag", "BLOCK")


def parameter(name, is_constexpr=False, do_not_specialize=False):
    given = {"is_constexpr": is_constexpr, "do_not_specialize": do_not_specialize}
    return types.SimpleNamespace(name=name, **given)


def key_of(names=(), rounds=False):
    """A key of a kernel that Triton compiles anew for some values of M, and of no other integer."""
    params = [
        parameter("x"), parameter("M"), parameter("flag", do_not_specialize=True),
        parameter("BLOCK", is_constexpr=True),
    ]  # fmt: skip
    return TuningKey(types.SimpleNamespace(params=params), NAMES, names, rounds)


def bucket(**arguments):
    return key_of().of({"x": torch.float16} | arguments)[0]


@pytest.mark.bug("AT-05")
def test_integers_that_are_compiled_anew_for_are_told_apart():
    """1, multiples of 16 and the rest."""
    one, some, sixteen, none, more = (bucket(M=value) for value in (1, 3, 16, 0, 17))
    assert len({one, some, sixteen}) == 3
    assert (none, more) == (sixteen, some)


@pytest.mark.parametrize("name", ["flag", "BLOCK"])
def test_integers_that_are_not_compiled_anew_for_share_a_bucket(name):
    assert bucket(**{name: 1}) == bucket(**{name: 3}) == bucket(**{name: 16})


def test_what_is_no_integer_has_no_class():
    assert bucket(M=0.5) == bucket(M=None) == bucket(M=True)


@pytest.mark.bug("L-31")
def test_a_key_argument_below_one_cannot_be_rounded_up():
    key = key_of(("M",), rounds=True)
    assert [key.of({"M": value})[0][0] for value in (1, 2, 3, "n")] == [(1,), (2,), (4,), ("n",)]
    for value in (0, -1):
        with pytest.raises(ValueError, match=f"M is {value}; to round it up"):
            key.of({"M": value})


def test_every_name_can_be_given_by_position_and_no_argument_more():
    assert key_of().named((1, 2, 3, 4), {}) == dict(zip(NAMES, (1, 2, 3, 4), strict=True))
    with pytest.raises(TypeError, match="5 positional arguments for 4 names"):
        key_of().named((1, 2, 3, 4, 5), {})
    with pytest.raises(TypeError, match=r"\['M'\] were given by position and by keyword"):
        key_of().named((1, 2), {"M": 2})
