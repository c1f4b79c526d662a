"""The autotuner, on stubs with a clock of our own, and the usage example on a real kernel."""

import ast
import gc
import threading
import time
import weakref

import pytest
import torch
import triton
import triton.language as tl
from triton.compiler.errors import CompilationError
from triton.runtime.errors import OutOfResources, PTXASError

from kernels.custom_autotune import autotune, matmul248_kernel_config_pruner
from kernels.custom_autotune import autotuner as custom_autotune
from tests.autotune.stub import Stub, benchmarks, call, configs_of, tuner_of

OUT_OF_RESOURCES = OutOfResources(2, 1, "shared memory")
pytestmark = pytest.mark.usefixtures("benchmarks")
__all__ = ["benchmarks"]


@pytest.mark.bug("AT-05")
def test_the_fastest_config_wins_and_is_kept(benchmarks):
    """Timed by the arguments that triton.testing.do_bench of today takes."""
    stub = Stub({16: 3.0, 32: 1.0, 64: 2.0})
    tuner = tuner_of(stub, configs_of(16, 32, 64))
    call(tuner)
    assert len(benchmarks) == 3
    assert benchmarks[0] == {"warmup": 5, "rep": 40, "quantiles": (0.5, 0.2, 0.8)}
    call(tuner)
    assert len(benchmarks) == 3
    assert stub.blocks[-2:] == [32, 32]


@pytest.mark.bug("L-29 L-37 AT-04 B-14")
@pytest.mark.parametrize(
    "error",
    [OUT_OF_RESOURCES, CompilationError("", ast.Pass(lineno=1, col_offset=0), ""),
     PTXASError("no"), RuntimeError("no")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("failing", [16, 32])
def test_a_config_that_cannot_run_loses(error, failing):
    stub = Stub({failing: error})
    call(tuner_of(stub, configs_of(16, 32)))
    assert stub.blocks[-1] == 48 - failing


@pytest.mark.bug("L-36 B-13")
def test_no_config_that_runs_is_an_error_and_is_not_remembered():
    stub = Stub({16: OUT_OF_RESOURCES, 32: OUT_OF_RESOURCES})
    tuner = tuner_of(stub, configs_of(16, 32))
    with pytest.raises(RuntimeError, match=r"no config runs.*shared memory"):
        call(tuner)
    assert not tuner.cache
    stub.behaviour.clear()
    call(tuner)
    assert stub.blocks[-1] == 16


@pytest.mark.bug("L-36 AT-03")
def test_a_pruner_that_leaves_nothing_is_an_error():
    tuner = tuner_of(
        Stub(), configs_of(16, 32), prune_configs_by={"early_config_prune": lambda c, n: []}
    )
    with pytest.raises(ValueError, match="left no config"):
        call(tuner)


@pytest.mark.bug("L-30")
def test_a_winner_that_no_longer_fits_is_replaced():
    """Alignment changes what a config needs; out of resources on a cache hit tunes again."""
    stub = Stub({16: 1.0, 32: 2.0})
    tuner = tuner_of(stub, configs_of(16, 32))
    call(tuner)
    stub.behaviour[16] = OUT_OF_RESOURCES
    call(tuner)
    call(tuner)
    assert stub.blocks[-2:] == [32, 32]


@pytest.mark.bug("L-32 AT-01")
@pytest.mark.parametrize("by_position", range(6))
def test_the_key_is_read_by_name(by_position):
    tuner = tuner_of(Stub(), configs_of(16, 32))
    values = {"x": torch.ones(1), "out": None, "M": 5, "N": 6, "K": 7, "bits": 4}
    args = list(values.values())[:by_position]
    kwargs = dict(list(values.items())[by_position:])
    tuner[(1,)](*args, **kwargs)
    ((exact, _, device),) = tuner.cache
    assert exact == (5, 6, 7)
    assert device == values["x"].device


@pytest.mark.bug("B-09")
@pytest.mark.parametrize("dim", [1, 2, 3, 88, 96, 127, 128, 129, 2**30 - 1, 2**30, 2**30 + 1])
def test_keys_round_up_to_a_power_of_two(dim):
    """Dim <= p < 2 * dim, exactly."""
    tuner = tuner_of(Stub(), configs_of(16, 32), key=["M"], nearest_power_of_two=True)
    call(tuner, m=dim)
    (((rounded,), _, _),) = tuner.cache
    assert dim <= rounded < 2 * dim
    assert rounded & (rounded - 1) == 0


@pytest.mark.bug("L-30 AT-10 AT-13")
def test_dtypes_and_the_other_keys_have_their_own_winners(benchmarks, device):
    tuner = tuner_of(Stub(), configs_of(16, 32), key=["M", "bits"])
    for dtype in (torch.float16, torch.bfloat16):
        for bits in (4, 8):
            call(tuner, x=torch.ones(2, dtype=dtype, device=device), bits=bits)
    assert len(tuner.cache) == 4
    assert len(benchmarks) == 8


@pytest.mark.bug("L-30 B-08")
@pytest.mark.parametrize("order", [(96, 128), (128, 96)])
def test_a_winner_serves_another_shape_only_if_pruning_keeps_it(order):
    """A pruner that forbids 64 where it does not divide K, in either order."""
    stub = Stub({64: 1.0, 32: 2.0})
    tuner = tuner_of(
        stub, configs_of(64, 32), nearest_power_of_two=True,
        prune_configs_by={
            "early_config_prune": lambda configs, nargs: [
                config for config in configs if nargs["K"] % config.kwargs["BLOCK"] == 0
            ]
        },
    )  # fmt: skip
    used = {}
    for k in order:
        call(tuner, k=k)
        used[k] = stub.blocks[-1]
    assert used == {96: 32, 128: 64}


def test_shapes_of_one_bucket_share_a_winner(benchmarks):
    tuner = tuner_of(Stub(), configs_of(16, 32), nearest_power_of_two=True)
    for m in (5, 6, 7, 8):
        call(tuner, m=m)
    assert len(benchmarks) == 2


@pytest.mark.bug("L-33 L-34 L-35")
@pytest.mark.parametrize("with_model", [False, True])
@pytest.mark.parametrize("with_pruner", [False, True])
@pytest.mark.parametrize(("top_k", "share"), [(None, 4), (1, 1), (3, 3), (0.5, 2), (0.1, 1)])
def test_every_combination_of_pruning_options_works(with_model, with_pruner, top_k, share):
    """A generator for a pruner; a model that takes the kernel's arguments."""
    options = {} if top_k is None else {"top_k": top_k}
    if with_pruner:
        options["early_config_prune"] = lambda configs, nargs: iter(configs)
    if with_model:
        options["perf_model"] = lambda x, M, N, K, BLOCK, num_warps, num_stages, num_ctas: -BLOCK
    tuner = tuner_of(Stub(), configs_of(16, 32, 64, 128), prune_configs_by=options)
    kept = tuner.prune_configs({"x": None, "M": 1, "N": 1, "K": 1})
    in_order = [128, 64, 32, 16] if with_model else [16, 32, 64, 128]
    assert [config.kwargs["BLOCK"] for config in kept] == in_order[:share]


@pytest.mark.bug("L-42")
@pytest.mark.parametrize("blocks", [(16,), (16, 32)])
def test_an_argument_that_a_config_sets_too_is_refused(blocks):
    """Also for one config only."""
    with pytest.raises(ValueError, match="BLOCK"):
        call(tuner_of(Stub(), configs_of(*blocks)), BLOCK=16)


@pytest.mark.bug("L-42")
def test_a_single_config_is_pruned():
    stub = Stub()
    config = triton.Config({"BLOCK": 1, "BLOCK_SIZE_M": 128})
    pruning = {"early_config_prune": matmul248_kernel_config_pruner}
    call(tuner_of(stub, [config], prune_configs_by=pruning))
    assert stub.launches[0]["BLOCK_SIZE_M"] == 16


@pytest.mark.bug("AT-09 AT-16")
def test_every_launch_gets_all_options_of_its_config():
    """While tuning, when the winner is found and in the steady state."""
    stub = Stub()
    tuner = tuner_of(stub, configs_of(16, num_warps=8, num_stages=5, maxnreg=64))
    call(tuner)
    call(tuner)
    for launch in stub.launches:
        assert (launch["num_warps"], launch["num_stages"], launch["maxnreg"]) == (8, 5, 64)


@pytest.mark.bug("L-38 AT-06")
def test_no_tensor_outlives_the_call():
    """Also where configs fail."""
    tuner = tuner_of(Stub({16: OutOfResources(2, 1, "registers")}), configs_of(16, 32))
    x = torch.ones(5)
    call(tuner, x=x)
    tuner.fn.behaviour.clear()  # the stub's own exception holds the frames that raised it
    alive = weakref.ref(x)
    del x
    gc.collect()
    assert alive() is None


@pytest.mark.bug("L-39 AT-07")
def test_threads_tune_once_and_see_their_own_arguments(benchmarks):
    seen = []
    hooked = configs_of(16, 32, pre_hook=lambda nargs: (time.sleep(0.01), seen.append(nargs)))
    tuner = tuner_of(Stub(), hooked, key=["N"])
    threads = [threading.Thread(target=call, args=(tuner, m)) for m in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(benchmarks) == 2
    assert {nargs["M"] for nargs in seen[4:]} == {1, 2, 3, 4}


@pytest.mark.bug("L-46")
@pytest.mark.parametrize("x", [torch.float32, torch.ones(2)])
def test_nothing_is_timed_in_or_after_a_warmup(benchmarks, x):
    """Arguments by keyword; dtypes stand for tensors."""
    stub = Stub()
    tuner = tuner_of(stub, configs_of(16, 32))
    tuner.warmup(x=x, M=4, N=8, K=8, grid=(1,))
    assert [launch["warmup"] for launch in stub.launches] == [True, True]
    if isinstance(x, torch.Tensor):
        call(tuner)
        assert stub.blocks[-1] == 16
    assert not benchmarks


@pytest.mark.bug("AT-11")
def test_two_tuners_share_nothing():
    first, second = (autotune(configs_of(16, 32), ["M"])(Stub()) for _ in range(2))
    call(first)
    assert first.cache
    assert not second.cache


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"key": ["Q"]}, ValueError),
        ({"reset_to_zero": ["y"]}, ValueError),
        ({"prune_configs_by": {"topk": 1}}, ValueError),
        ({"prune_configs_by": {"top_k": 0}}, ValueError),
        ({"prune_configs_by": {"top_k": 1.5}}, ValueError),
        ({"prune_configs_by": {"top_k": True}}, TypeError),
    ],
)
def test_options_that_mean_nothing_are_refused(options, error):
    with pytest.raises(error):
        tuner_of(Stub(), configs_of(16), **options)


def test_a_missing_key_argument_is_named():
    with pytest.raises(TypeError, match="'M'"):
        tuner_of(Stub(), configs_of(16, 32))[(1,)](torch.ones(1), N=1, K=1)


def test_the_printed_usage_example_runs(device):
    @custom_autotune.autotune(
        configs=[triton.Config({"BLOCK_SIZE_M": 64}, num_stages=4, num_warps=4)],
        key=["M", "N", "K"],
        nearest_power_of_two=True,
        prune_configs_by={"early_config_prune": matmul248_kernel_config_pruner},
    )
    @triton.jit
    def my_kernel(x_ptr, M, N, K, BLOCK_SIZE_M: tl.constexpr):
        offsets = tl.arange(0, BLOCK_SIZE_M)
        tl.store(x_ptr + offsets, offsets, mask=offsets < M)

    x = torch.zeros(20, dtype=torch.int32, device=device)
    my_kernel[(1,)](x, 20, 1, K=1)
    assert x.tolist() == list(range(20))


@pytest.mark.bug("ST-03 L-11")
@pytest.mark.gpu
def test_an_untuned_key_is_refused_while_a_graph_is_captured():
    tuner = tuner_of(Stub(), configs_of(16, 32))
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        with pytest.raises(RuntimeError, match="before the capture"):
            call(tuner)
        torch.ones(1, device="cuda")
