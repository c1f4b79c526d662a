"""The pruner: blocks become as small as a shape needs, and nothing else about a config changes."""

import copy

import numpy as np
import pytest
import triton
from hypothesis import given
from hypothesis import strategies as st

from kernels.custom_autotune import matmul248_kernel_config_pruner as pruner
from kernels.custom_autotune.config_pruner import MIN_BLOCK, power_of_two_above
from kernels.triton_matmul import BLOCKS, matmul_248_kernel, transpose_matmul_248_kernel

SIDES = {"BLOCK_SIZE_M": "M", "BLOCK_SIZE_N": "N", "BLOCK_SIZE_K": "K"}


def some_hook(nargs):
    pass


def near_powers_of_two(largest=40):
    powers = st.integers(0, largest).map(lambda exponent: 2**exponent)
    return st.builds(lambda power, d: max(1, power + d), powers, st.sampled_from((0, -1, 1)))


shapes = st.fixed_dictionaries({dim: near_powers_of_two() for dim in "MNK"})
blocks = st.sampled_from((16, 32, 64, 128, 256))
options = st.dictionaries(
    st.sampled_from(("GROUP_SIZE_M", "SPLIT_K", "EVEN_K", "ACC")), st.integers(0, 3)
)


@st.composite
def configs(draw):
    sides = {side: draw(blocks) for side in SIDES}
    return triton.Config(
        {**sides, **draw(options)},
        num_warps=draw(st.sampled_from((4, 8))),
        num_stages=draw(st.sampled_from((2, 3))),
        num_ctas=draw(st.sampled_from((1, 2))),
        maxnreg=draw(st.sampled_from((None, 128))),
        pre_hook=draw(st.sampled_from((None, some_hook))),
        ir_override=draw(st.sampled_from((None, "kernel.ttgir"))),
    )


def resized(config, *sides):
    twin = copy.copy(config)
    twin.kwargs = config.kwargs | dict(zip(SIDES, sides, strict=True))
    return twin


@st.composite
def lists_of_configs(draw):
    """Few kinds of configs in many sizes, so that pruning makes some of them equal."""
    kinds = draw(st.lists(configs(), min_size=1, max_size=2))
    sizes = st.builds(resized, st.sampled_from(kinds), blocks, blocks, blocks)
    return draw(st.lists(sizes, min_size=1, max_size=8))


def fields(config):
    return {**vars(config), "kwargs": dict(config.kwargs)}


def shrunk(config, shape):
    """What one config becomes, worked out with floats nowhere and loops only."""
    expected = fields(config)
    for side, dim in SIDES.items():
        needed = MIN_BLOCK
        while needed < shape[dim]:
            needed *= 2
        expected["kwargs"][side] = min(needed, expected["kwargs"][side])
    return expected


@pytest.mark.bug("L-43 L-45 B-09 B-10 AT-14")
@given(given_configs=lists_of_configs(), shape=shapes)
def test_each_config_shrinks_to_what_the_shape_needs_in_order_and_once(given_configs, shape):
    """To blocks of at least 16, which hold whole words; nothing else changes, nothing is lost.

    The caller's configs are left alone, and pruning again changes nothing.
    """
    before = [fields(config) for config in given_configs]
    expected = [shrunk(config, shape) for config in given_configs]
    expected = [each for i, each in enumerate(expected) if each not in expected[:i]]
    pruned = list(pruner(given_configs, shape))
    assert [fields(config) for config in pruned] == expected
    assert [fields(config) for config in pruner(pruned, shape)] == expected
    assert [fields(config) for config in given_configs] == before
    sides = {config.kwargs[side] for config in pruned for side in SIDES}
    assert all(side >= 16 and side & (side - 1) == 0 for side in sides)


@pytest.mark.bug("B-09")
@pytest.mark.parametrize("exponent", range(41))
def test_powers_of_two_are_exact(exponent):
    """No logarithm in floating point."""
    power = 2**exponent
    assert power_of_two_above(power) == power
    assert power_of_two_above(power + 1) == 2 * power
    assert power_of_two_above(max(1, power - 1)) == (power if power > 2 else max(1, power - 1))


@pytest.mark.bug("L-31")
@pytest.mark.parametrize("dim", "MNK")
@pytest.mark.parametrize(
    ("value", "error"),
    [(value, ValueError) for value in (0, -1, -(2**40))]
    + [(value, TypeError) for value in (True, np.True_, 8.0, "8", None, float("nan"))],
)
def test_what_is_no_dimension_is_refused_at_the_call(dim, value, error):
    """Not a domain error of a logarithm, and not only at the first next()."""
    with pytest.raises(error, match=f"{dim} is an integer|{dim} is at least 1"):
        pruner([], {"M": 1, "N": 1, "K": 1, dim: value})


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
def test_integers_of_numpy_are_integers(kind):
    config = triton.Config(dict.fromkeys(SIDES, 128))
    (pruned,) = pruner([config], {"M": kind(100), "N": kind(17), "K": kind(1)})
    assert pruned.kwargs == {"BLOCK_SIZE_M": 128, "BLOCK_SIZE_N": 32, "BLOCK_SIZE_K": 16}


def test_a_missing_dimension_is_named():
    with pytest.raises(ValueError, match="needs K"):
        pruner([], {"M": 1, "N": 1})


@pytest.mark.bug("L-45")
@pytest.mark.parametrize("side", SIDES)
def test_a_block_that_dot_cannot_take_is_refused(side):
    """By the pruner, not by an assertion in the middle of a compilation."""
    config = triton.Config({**dict.fromkeys(SIDES, 32), side: 8})
    with pytest.raises(ValueError, match=f"{side} is 8"):
        pruner([config], {"M": 64, "N": 64, "K": 64})


@pytest.mark.bug("L-43")
@pytest.mark.parametrize("side", SIDES)
def test_a_config_without_one_of_the_blocks_keeps_the_others(side):
    """Needs neither GROUP_SIZE_M nor all blocks."""
    config = triton.Config({name: 64 for name in SIDES if name != side})
    (pruned,) = pruner([config], {"M": 1, "N": 1, "K": 1})
    assert pruned.kwargs == {name: 16 for name in SIDES if name != side}


@pytest.mark.parametrize("tuner", [matmul_248_kernel, transpose_matmul_248_kernel])
@given(shape=shapes)
def test_the_kernels_keep_at_least_one_config_for_every_shape(tuner, shape):
    assert len(tuner.configs) == len(BLOCKS)
    assert 1 <= len(tuner.prune_configs(shape)) <= len(BLOCKS)


@pytest.mark.bug("L-34")
def test_the_pruner_takes_configs_one_by_one():
    configs = [triton.Config({"BLOCK_SIZE_M": size}) for size in (16, 32)]
    pruned = pruner(iter(configs), {"M": 64, "N": 64, "K": 64})
    assert [config.kwargs for config in pruned] == [config.kwargs for config in configs]
