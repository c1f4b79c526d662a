"""What a tuner is made of where a caller leaves something out, or gives it to the decorator."""

import pytest
import torch
import triton

from kernels.custom_autotune import autotune
from tests.autotune.stub import NAMES, Stub, benchmarks, call, configs_of, tuner_of

pytestmark = pytest.mark.usefixtures("benchmarks")
__all__ = ["benchmarks"]


@pytest.mark.parametrize("configs", [None, []])
def test_without_configs_there_is_one_that_sets_nothing(configs):
    (config,) = tuner_of(Stub(), configs).configs
    assert config.all_kwargs() == triton.Config({}).all_kwargs()


def test_the_decorator_hands_on_what_starts_from_zero():
    tuner = autotune(configs_of(16), ["M"], reset_to_zero=["out"])(Stub())
    out = torch.full((3,), 7.0)
    call(tuner, out=out)
    assert out.tolist() == [1.0, 1.0, 1.0]
    assert (tuner.arg_names, tuner.reset_to_zero) == (NAMES, ("out",))


def test_one_config_is_timed_with_arguments_of_both_kinds():
    """As callers of Triton's own tuner do; `warmup` is not the kernel's."""
    stub = Stub({16: 3.0})
    tuner, x = tuner_of(stub, configs_of(16)), torch.ones(2)
    named = {"out": None, "M": 4, "N": 8, "K": 8, "grid": (1,), "warmup": False}
    assert tuner._bench(x, config=tuner.configs[0], **named) == (3.0, 3.0, 3.0)
    assert stub.blocks == [16, 16]
