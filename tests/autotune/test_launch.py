"""The short way to launch, with a driver and a compiled kernel that only note what they get."""

import types

import pytest
import torch
import triton
from triton import knobs

from kernels.custom_autotune import launch_path
from kernels.custom_autotune.launch_path import LaunchPath, LaunchPaths

NAMES = ("x", "M", "K", "BLOCK")
CONFIG = triton.Config({"BLOCK": 16})
META = {"BLOCK": 16}


class Driver:
    """Of a machine with one device in use."""

    device = 0

    def get_current_device(self):
        return self.device

    def get_current_stream(self, device):
        return f"stream of {device}"


class Kernel:
    """Compiled, as far as a launch looks."""

    function, packed_metadata = "function", "packed"

    def launch_metadata(self, grid, stream, *values):
        return f"metadata {grid} {stream} {values}"

    def run(self, *given):
        self.given = given


@pytest.fixture
def driver(monkeypatch):
    active = Driver()
    monkeypatch.setattr(launch_path, "driver", types.SimpleNamespace(active=active))
    return active


@pytest.fixture
def settings(monkeypatch):
    """The knobs of Triton that a launch looks at, to be set at will."""
    runtime = {"launch_enter_hook": None, "launch_exit_hook": None, "debug": False}
    runtime = types.SimpleNamespace(**runtime, add_stages_inspection_hook=None)
    compilation = types.SimpleNamespace(instrumentation_mode="")
    knobs = types.SimpleNamespace(runtime=runtime, compilation=compilation)
    monkeypatch.setattr(launch_path, "knobs", knobs)
    return knobs


def jit_kernel():
    """As decorated on a machine with a GPU; nothing compiles it here."""

    def kernel(x, M, K, BLOCK: triton.language.constexpr):
        pass

    return triton.JITFunction(kernel)


def remembered(paths, *args, **kwargs):
    """What `paths` finds after a launch with these arguments."""
    signature, _ = paths.find(args, kwargs)
    paths.remember(signature, None, CONFIG, META)
    return paths.find(args, kwargs)[1]


@pytest.mark.parametrize(
    ("grid", "blocks"), [((5,), (5, 1, 1)), ((5, 6), (5, 6, 1)), ((5, 6, 7), (5, 6, 7))]
)
def test_a_launch_gets_what_triton_would_give_it(driver, settings, grid, blocks):
    settings.runtime.launch_enter_hook, settings.runtime.launch_exit_hook = print, repr
    kernel = Kernel()
    path = LaunchPath(CONFIG, META, (16,), kernel, 3)
    LaunchPaths(None, NAMES, {}).launch(path, lambda given: grid, {"M": 1, "K": 2})
    metadata = f"metadata {grid} stream of 3 (1, 2)"
    wanted = (*blocks, "stream of 3", "function", "packed", metadata, print, repr, 1, 2)
    assert kernel.given == wanted


def test_a_launch_without_hooks_costs_none(driver, settings):
    settings.runtime.launch_exit_hook = type(knobs.runtime.launch_exit_hook)()
    kernel = Kernel()
    path = LaunchPath(CONFIG, META, (16,), kernel, 0)
    LaunchPaths(None, NAMES, {}).launch(path, (1,), {"M": 1})
    assert kernel.given[6:9] == (None, None, None)


@pytest.mark.bug("AT-05")
def test_tensors_of_one_alignment_are_one_call_and_others_are_not():
    paths, memory = LaunchPaths(None, NAMES, {}), torch.zeros(64, dtype=torch.float16)
    aligned = memory[-memory.data_ptr() % 16 // 2 :]
    first, same, other = (
        paths.find((aligned[place:], 1, 2), {})[0] for place in (0, 8, 1)
    )  # fmt: skip
    assert first == same
    assert first != other


@pytest.mark.bug("AT-05")
def test_what_equals_something_else_is_not_remembered():
    """0.0 equals -0.0."""
    paths = LaunchPaths(None, NAMES, {})
    assert remembered(paths, 1, 2, 0.5)
    assert remembered(paths, 1, 2, 0.0) is None
    assert remembered(paths, 1, [2], 3) is None


@pytest.mark.bug("L-41")
def test_arguments_are_whole_however_they_came():
    paths, wanted = LaunchPaths(None, NAMES, {"K": 9}), {"x": 1, "M": 2, "K": 9, "BLOCK": 16}
    for args, kwargs in (((1, 2), {}), ((1,), {"M": 2}), ((), {"M": 2, "x": 1})):
        path = remembered(paths, *args, **kwargs)
        assert paths.arguments(path, args, kwargs) == wanted
        assert list(paths.arguments(path, args, kwargs)) == list(NAMES)
    assert remembered(paths, 1, 2).added == (9, 16)
    assert remembered(paths, 1, 2, 3).added == (16,)
    assert remembered(LaunchPaths(None, NAMES, {}), 1, 2, 3).added == (16,)


def test_no_more_calls_are_remembered_than_the_limit(monkeypatch):
    monkeypatch.setattr(launch_path, "LIMIT", 2)
    paths = LaunchPaths(None, NAMES, {})
    for number in range(5):
        assert remembered(paths, number)
        assert len(paths._paths) <= 2


def test_a_hook_of_the_kernel_keeps_to_the_long_way(driver, settings):
    kernel = jit_kernel()
    paths = LaunchPaths(kernel, NAMES, {})
    assert remembered(paths, 1, 2)
    kernel.pre_run_hooks.append(print)
    assert paths.find((1, 2), {})[1] is None


@pytest.mark.bug("AT-13 ST-01")
@pytest.mark.parametrize(
    "change",
    [
        lambda driver, settings: setattr(driver, "device", 1),
        lambda driver, settings: setattr(settings.runtime, "debug", True),
        lambda driver, settings: setattr(settings.compilation, "instrumentation_mode", "fpsan"),
        lambda driver, settings: setattr(settings.runtime, "add_stages_inspection_hook", print),
    ],
    ids=["device", "debug", "instrumentation", "stages"],
)
def test_what_triton_compiles_anew_for_is_another_call(driver, settings, change):
    paths = LaunchPaths(jit_kernel(), NAMES, {})
    assert remembered(paths, 1, 2)
    change(driver, settings)
    assert paths.find((1, 2), {})[1] is None
