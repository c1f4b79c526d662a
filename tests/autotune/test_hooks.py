"""What the autotuner does around a launch: hooks, and tensors that start from zero."""

import pytest
import torch
from triton.runtime.errors import OutOfResources

from tests.autotune.stub import Stub, benchmarks, call, configs_of, tuner_of

OUT_OF_RESOURCES = OutOfResources(2, 1, "shared memory")
pytestmark = pytest.mark.usefixtures("benchmarks")
__all__ = ["benchmarks"]


@pytest.mark.bug("B-15")
def test_a_config_that_raises_halfway_leaves_no_trace_in_the_result():
    """The operands are as given, the output holds the winner's result alone."""
    tuner = tuner_of(Stub({32: OUT_OF_RESOURCES}), configs_of(16, 32, 64), reset_to_zero=["out"])
    x, out = torch.arange(3.0), torch.full((3,), 7.0)
    call(tuner, x=x, out=out)
    assert (x.tolist(), out.tolist()) == ([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])


@pytest.mark.bug("AT-12")
def test_a_config_found_before_still_runs_its_hook():
    """What is kept is the config itself, hook included."""
    ran = []
    hooked = configs_of(16, 32, pre_hook=lambda nargs: ran.append(nargs["BLOCK"]))
    tuner = tuner_of(Stub({16: 2.0}), hooked)
    call(tuner)
    ran.clear()
    call(tuner)
    assert ran == [32]


@pytest.mark.bug("L-40 AC-10 AT-08 ST-04")
@pytest.mark.parametrize("blocks", [(16,), (16, 32)])
def test_accumulating_kernels_start_from_zero_on_every_call(blocks):
    """First call, cache hit and single config alike."""
    tuner = tuner_of(Stub(), configs_of(*blocks), reset_to_zero=["out"])
    out = torch.full((3,), 7.0)
    for _ in range(3):
        call(tuner, out=out)
        assert out.tolist() == [1.0, 1.0, 1.0]
    call(tuner, out=None)


@pytest.mark.bug("L-41 AT-02")
def test_hooks_and_pruners_see_arguments_given_by_keyword():
    """And not the launch options."""
    seen = []
    tuner = tuner_of(
        Stub(), configs_of(16, pre_hook=lambda nargs: seen.append(set(nargs))),
        prune_configs_by={"early_config_prune": lambda c, nargs: seen.append(set(nargs)) or c},
    )  # fmt: skip
    call(tuner)
    call(tuner)
    assert {"x", "M", "N", "K"} == seen[0]
    assert seen[1] == seen[2] == seen[0] | {"BLOCK", "num_warps", "num_stages", "num_ctas"}
