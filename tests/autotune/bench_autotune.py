"""What the autotuner costs: the host time of a warm launch, and a key that it has not seen."""

import shutil
import types

import pytest
import torch
import triton

from kernels import operators
from kernels.custom_autotune import Autotuner
from kernels.custom_autotune.store import Store
from kernels.quant_linear import QuantLinear, matmul_248_kernel

M, N, K, GROUP_SIZE, BITS = 256, 4096, 4096, 128, 4
KEY = ["M", "N", "K"]
ROUNDS = 5
LAUNCHES = 100  # few enough that none waits for room in the stream's queue


class Silent(triton.KernelInterface):
    """A kernel that does nothing: what is left is the tuner."""

    arg_names = ("x", "out", "M", "N", "K", "bits", "BLOCK")

    @staticmethod
    def fn():
        """What triton's tuner takes for the Python function behind a kernel."""

    def run(self, *args, **kwargs):
        """Launch nothing."""


def fake(kind):
    """A warm launch of a kernel that does nothing, through either tuner."""
    configs, names = [triton.Config({"BLOCK": block}) for block in (16, 32)], Silent.arg_names
    if kind == "ours":
        tuner = Autotuner(Silent(), names, configs, KEY, None)
        tuner.timed = False
    else:
        tuner = triton.runtime.Autotuner(Silent(), names, configs, KEY, None, None)
        tuner._bench = lambda *args, config, **meta: [1.0]
    x = torch.ones(2)
    return lambda: tuner[(1,)](x, x, 4, 8, 8, 4)


def problem(m=M, n=N, k=K):
    """Arguments of matmul_248_kernel and its grid; values do not matter here."""
    layer = QuantLinear.new(BITS, GROUP_SIZE, k, n, False).cuda()
    x, out = (torch.ones(m, size, dtype=torch.float16, device="cuda") for size in (k, n))
    weights, launches = (layer.qweight, layer.scales, layer.qzeros, layer.g_idx), []
    kernel = types.SimpleNamespace(run=lambda *arguments, grid: launches.append((arguments, grid)))
    operators._multiply_any(kernel, x, weights, out, BITS, None)
    return launches[0]


def real(kind):
    """A warm launch of the real kernel on a small problem, through either tuner."""
    arguments, grid = problem(1, 64, 128)
    configs = list(matmul_248_kernel.configs)[:2]
    if kind == "ours":
        tuner = Autotuner(matmul_248_kernel.fn, matmul_248_kernel.arg_names, configs, KEY, None)
    else:
        tuner = triton.autotune(configs, KEY)(matmul_248_kernel.fn)
    return lambda: tuner[grid](*arguments)


@pytest.mark.parametrize("kind", ["ours", "triton.autotune"])
@pytest.mark.parametrize(
    "launch", [fake, pytest.param(real, marks=pytest.mark.gpu)], ids=["no kernel", "matmul248"]
)
def test_host_cost_of_a_warm_launch(launch, kind, benchmark):
    call = launch(kind)

    def launches():
        for _ in range(LAUNCHES):
            call()

    synchronize = torch.cuda.synchronize if launch is real else lambda: None
    benchmark.pedantic(launches, setup=synchronize, rounds=50, warmup_rounds=1)
    microseconds = benchmark.stats.stats.median / LAUNCHES * 1e6
    benchmark.extra_info["microseconds_per_launch"] = round(microseconds, 2)


@pytest.fixture
def tuner(tmp_path):
    """A tuner of the real kernel with eight configs, all its caches in a folder of their own."""
    arguments, grid = problem()
    options = matmul_248_kernel.configs[0].all_kwargs()
    matmul_248_kernel.fn.run(*arguments, grid=grid, warmup=False, **options)  # wakes Triton
    tuner = Autotuner(
        matmul_248_kernel.fn, matmul_248_kernel.arg_names, matmul_248_kernel.configs, KEY, None
    )
    tuner.store = Store(tmp_path / "winners")
    with triton.knobs.cache.scope():
        triton.knobs.cache.dir = str(tmp_path / "compiled")
        yield tuner


@pytest.mark.gpu
@pytest.mark.parametrize("kept", [False, True], ids=["empty caches", "kept on disk"])
def test_a_key_not_seen_before(kept, tuner, benchmark, tmp_path):
    """Eight configs, M = 256, 4096 x 4096: compiled and timed, or read from their file."""
    arguments, grid = problem()

    def forget():
        tuner.clear()
        if not kept:
            shutil.rmtree(tmp_path, ignore_errors=True)
            matmul_248_kernel.fn.device_caches.clear()
        torch.cuda.synchronize()

    def run():
        tuner[grid](*arguments)
        torch.cuda.synchronize()

    run()
    benchmark.pedantic(run, setup=forget, rounds=ROUNDS)
