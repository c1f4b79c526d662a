"""The autotuner, on stubs with a clock of our own, and the usage example on a real kernel."""

import inspect
from inspect import Parameter

import pytest
import torch
import triton
import triton.language as tl
from triton.errors import TritonError
from triton.runtime.errors import PTXASError

from kernels import custom_autotune
from kernels.custom_autotune import Autotuner, autotune, matmul248_kernel_config_pruner
from kernels.custom_autotune.autotuner import Call
from tests.autotune.stub import (
    NAMES,
    NO_COMPILATION,
    OUT_OF_RESOURCES,
    Stub,
    call,
    configs_of,
    tuner_of,
)

pytestmark = pytest.mark.usefixtures("benchmarks")
OPTIONS = {"prune_configs_by": None, "nearest_power_of_two": False}
MORE = {"restore_value": None}  # by keyword only


def parameters_of(function):
    """Name -> default, in order."""
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


def positional(function):
    parameters = inspect.signature(function).parameters.items()
    return [name for name, p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def test_the_decorator_is_called_as_the_originals():
    needed = dict.fromkeys(("configs", "key"), Parameter.empty)
    found = parameters_of(autotune)
    assert found == needed | OPTIONS | {"reset_to_zero": None} | MORE
    originals = [*needed, "prune_configs_by", "reset_to_zero", "nearest_power_of_two"]
    assert list(found) == [*originals, *MORE]
    assert positional(autotune) == originals


def test_the_class_is_called_as_the_originals():
    names = ("fn", "arg_names", "configs", "key", "reset_to_zero")
    found = parameters_of(Autotuner)
    assert found == dict.fromkeys(names, Parameter.empty) | OPTIONS | MORE
    assert list(found) == [*names, *OPTIONS, *MORE]
    assert positional(Autotuner) == [*names, *OPTIONS]


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
    [OUT_OF_RESOURCES, NO_COMPILATION, PTXASError("no"), RuntimeError("no")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("failing", [16, 32])
def test_a_config_that_cannot_run_loses(error, failing):
    stub = Stub({failing: error})
    call(tuner_of(stub, configs_of(16, 32)))
    assert stub.blocks[-1] == 48 - failing


@pytest.mark.bug("L-36 B-13")
def test_no_config_that_runs_is_an_error_and_is_not_remembered():
    stub = Stub({16: OUT_OF_RESOURCES, 32: OUT_OF_RESOURCES})
    tuner = tuner_of(stub, configs_of(16, 32))
    words = r"no config runs:\n  BLOCK: 16, .*: shared memory, .*\n  BLOCK: 32, .*: shared memory, "
    with pytest.raises(RuntimeError, match=words):
        call(tuner)
    assert not tuner.cache
    stub.behaviour.clear()
    call(tuner)
    assert stub.blocks[-1] == 16


def test_no_config_that_runs_for_want_of_memory_is_an_error_of_that_kind():
    """Which a server may answer by freeing some."""
    behaviour = {16: torch.cuda.OutOfMemoryError("CUDA out of memory."), 32: OUT_OF_RESOURCES}
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"(?s)16, .*CUDA out of .*32, .*shared"):
        call(tuner_of(Stub(behaviour), configs_of(16, 32)))


@pytest.mark.bug("L-36 AT-03")
def test_a_pruner_that_leaves_nothing_is_an_error():
    tuner = tuner_of(
        Stub(), configs_of(16, 32), prune_configs_by={"early_config_prune": lambda c, n: []}
    )
    with pytest.raises(ValueError, match="left no config"):
        call(tuner)


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


@triton.jit
def copy_kernel(x_ptr, out_ptr, M, SHARE: tl.constexpr, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=offsets < M), mask=offsets < M)


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_argument_that_neither_call_nor_config_gives_is_named_with_the_config(wrapped, device):
    """One that `triton.heuristics` computes is given."""
    kernel, given = copy_kernel, {"SHARE": 1}
    if wrapped:
        kernel, given = triton.heuristics({"SHARE": lambda given: 1})(copy_kernel), {}
    x, out = torch.ones(8, device=device), torch.zeros(8, device=device)
    right, wrong = triton.Config({"BLOCK": 16}), triton.Config({"BLOK": 32})
    autotune([right], ["M"])(kernel)[(1,)](x, out, 8, **given)
    assert torch.equal(x, out)
    with pytest.raises(TypeError, match=r"the config \(BLOK: 32, .*\) gives \['BLOCK'\]"):
        autotune([wrong], ["M"])(kernel)[(1,)](x, out, 8, **given)
    with pytest.raises(TypeError, match=r"gives \['x_ptr'\]"):
        autotune([right], ["M"])(kernel)[(1,)](out_ptr=out, M=8, **given)


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


@pytest.mark.bug("L-40 AC-10 AT-08 ST-04")
@pytest.mark.parametrize("blocks", [(16,), (16, 32)])
def test_accumulating_kernels_start_from_zero_on_every_call(blocks):
    """First call, cache hit and single config alike."""
    tuner = autotune(configs_of(*blocks), ["M"], reset_to_zero=["out"])(Stub())
    assert (tuner.arg_names, tuner.reset_to_zero) == (NAMES, ("out",))
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


@pytest.mark.parametrize("configs", [None, []])
def test_without_configs_there_is_one_that_sets_nothing(configs):
    (config,) = tuner_of(Stub(), configs).configs
    assert config.all_kwargs() == triton.Config({}).all_kwargs()


def test_one_config_is_timed_with_arguments_of_both_kinds():
    """As callers of Triton's own tuner do; `warmup` is not the kernel's."""
    stub = Stub({16: 3.0})
    tuner, x = tuner_of(stub, configs_of(16)), torch.ones(2)
    named = {"out": None, "M": 4, "N": 8, "K": 8, "grid": (1,), "warmup": False}
    assert tuner._bench(x, config=tuner.configs[0], **named) == (3.0, 3.0, 3.0)
    assert stub.blocks == [16] * 4  # two of them show that the second does what the first did


@pytest.mark.bug("L-42")
def test_a_config_cannot_set_what_came_by_position():
    tuner = tuner_of(Stub(), configs_of(16))
    with pytest.raises(ValueError, match=r"\['BLOCK'\] come from the config"):
        tuner[(1,)](torch.ones(2), None, 1, 1, 1, 4, 16)


def test_a_tuning_that_cannot_compile_reports_why():
    class Failing(Stub):
        def run(self, *args, **kwargs):
            raise TritonError("shared memory is short")

    words = r"no config compiles:\n  BLOCK: 16, .*TritonError: shared memory is short"
    with pytest.raises(RuntimeError, match=words):
        tuner_of(Failing(), configs_of(16)).warmup(x=torch.ones(2), M=1, N=1, K=1)


SHAPE = {"M": 4, "N": 8, "K": 8}
CHANGES = {
    "clear": lambda tuner: tuner.clear(),
    "warmup": lambda tuner: tuner.warmup(x=torch.ones(2), **SHAPE),
    "another choice": lambda tuner: tuner._choose_again(
        Call((), {"grid": (1,)}, {"x": torch.ones(2), **SHAPE})
    ),
}


class Lock:
    """Knows whether it is held."""

    held = False

    def __enter__(self):
        self.held = True

    def __exit__(self, *error):
        self.held = False


@pytest.mark.bug("AT-10")
@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_the_winners_holds_the_lock(change):
    """Another thread may be choosing one."""
    tuner, seen = tuner_of(Stub(), configs_of(16, 32)), []
    call(tuner)
    tuner._lock = Lock()
    tuner._winners = Watched(tuner._winners, lambda: seen.append(tuner._lock.held))
    CHANGES[change](tuner)
    assert seen
    assert all(seen)


class Watched(dict):
    """A dictionary that calls `note` before it is changed."""

    def __init__(self, values, note):
        super().__init__(values)
        self.note = note


def watched(name):
    def change(self, *arguments):
        self.note()
        return getattr(dict, name)(self, *arguments)

    return change


for name in ("clear", "setdefault", "pop", "__setitem__"):
    setattr(Watched, name, watched(name))


def test_a_winner_that_does_not_run_is_gone_even_if_no_other_is_found():
    def prune(configs, nargs):
        if nargs["M"] == 0:
            raise ValueError("no rows")
        return configs

    tuner = tuner_of(Stub(), configs_of(16), prune_configs_by={"early_config_prune": prune})
    call(tuner)
    (bucket,) = tuner.cache
    with pytest.raises(ValueError, match="no rows"):
        tuner._choose_again(Call((), {}, {"M": 0}, bucket))
    assert bucket not in tuner.cache


@pytest.mark.bug("ST-03 L-11")
@pytest.mark.gpu
def test_an_untuned_key_is_refused_while_a_graph_is_captured():
    tuner = tuner_of(Stub(), configs_of(16, 32))
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        with pytest.raises(RuntimeError, match="before the capture"):
            call(tuner)
        torch.ones(1, device="cuda")
