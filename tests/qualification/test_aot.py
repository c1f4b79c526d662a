"""Kernels compile for GPUs that are not here, and the tuner lives with what cannot run."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import triton
from triton.runtime.errors import OutOfResources

from kernels.checks import SUPPORTED_BITS
from kernels.custom_autotune.config_pruner import matmul248_kernel_config_pruner
from kernels.quant_linear import QuantLinear, matmul248, transpose_matmul248
from qualification.aot import jit, nvcc
from qualification.aot.architectures import ARCHITECTURES
from qualification.aot.compare import read
from qualification.aot.variants import DTYPES, Variant, kernels, options_of, variants
from tests.autotune.stub import Stub, benchmarks, call, tuner_of
from tests.turns import DAY

pytestmark = pytest.mark.turns(3, whole=True)

__all__ = ["benchmarks"]
ROOT = Path(__file__).resolve().parents[2]
LEAN = ("sm_86", "gfx942")  # those with the least shared memory of NVIDIA and of AMD
CLASSES = list(itertools.product(SUPPORTED_BITS, DTYPES, ("aligned", "unaligned", "run128")))
# M, N, K of which pruning leaves the smallest blocks, those of a few rows, small sides, and all
SHAPES = [(1, 4, 4), (1, 4096, 4096), (16, 64, 32), (33, 72, 136), (4096, 4096, 4096)]
UNRUNNABLE = """
from dataclasses import replace
from qualification.aot.build import attempt
from qualification.aot.compare import Binary
from qualification.aot.variants import variants

variant = variants(["sm_86"])[0]
for side in (256, 8):
    config = {"num_warps": 8} | dict.fromkeys(("BLOCK_SIZE_N", "BLOCK_SIZE_K"), side)
    wrong = replace(variant, config=tuple((dict(variant.config) | config).items()))
    print(Binary.of("sm_86", wrong.kernel, str(wrong), attempt(wrong)).refused)
"""


def run(*arguments):
    """Without the interpreter, which compiles nothing."""
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """(architecture, kernel) -> the binaries that its tuner chooses among, of one class a day."""
    folder = tmp_path_factory.mktemp("aot")
    bits, dtype, alignment = CLASSES[DAY % len(CLASSES)]
    chosen = [word for arch in LEAN for word in ("--arch", arch)]
    chosen += ["--only", f"b{bits} {dtype} sf16 {alignment}"]
    built = run("-m", "qualification.aot", *chosen, "--results", str(folder))
    assert built.returncode == 0, f"python -m qualification.aot {chosen}\n{built.stdout}"
    found = {}
    for binary in read(folder / "aot.json"):
        found.setdefault((binary.arch, binary.kernel), {})[binary.name] = binary
    return found


def members(compiled, arch, kernel):
    """Number of a config -> its binary."""
    numbers = {options_of(config): n for n, config in enumerate(kernels()[kernel].configs)}
    named = {str(variant): variant for variant in variants([arch])}
    return {numbers[named[name].config]: b for name, b in compiled[arch, kernel].items()}


def refused_with(shared, arch, binaries):
    """Numbers of the configs that cannot run, were there so many bytes of shared memory."""
    limits = ARCHITECTURES[arch]._replace(shared=shared)
    return [n for n, b in binaries.items() if not b.needs or limits.lacks(b.resources)]


def chosen(kernel, refused, shape):
    """The number of the config that the tuner takes where launches of these fail."""
    configs = [
        triton.Config({"BLOCK": number, **config.kwargs})
        for number, config in enumerate(kernels()[kernel].configs)
    ]
    stub = Stub(dict.fromkeys(refused, OutOfResources(2, 1, "shared memory")))
    pruning = {"early_config_prune": matmul248_kernel_config_pruner}
    call(tuner_of(stub, configs, prune_configs_by=pruning), *shape)
    return stub.blocks[-1]


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize("arch", LEAN)
def test_the_tuner_finds_a_config_for_every_shape(compiled, arch, kernel):
    """Whatever cannot run on this architecture fails to launch."""
    binaries = members(compiled, arch, kernel)
    assert len(binaries) == len(kernels()[kernel].configs)
    refused = refused_with(ARCHITECTURES[arch].shared, arch, binaries)
    for shape in SHAPES:
        assert chosen(kernel, refused, shape) not in refused, shape


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize("arch", LEAN)
def test_the_tuner_lives_with_less_shared_memory(compiled, arch, kernel):
    """As above on a GPU that has what the leanest config needs and no byte more."""
    binaries = members(compiled, arch, kernel)
    leanest = min(binary.resources.shared for binary in binaries.values())
    refused = refused_with(leanest, arch, binaries)
    # All may need the same: then none is refused.
    assert refused == [n for n, b in binaries.items() if b.resources.shared > leanest]
    for shape in SHAPES:
        assert chosen(kernel, refused, shape) not in refused, shape


@pytest.mark.skipif(nvcc.compiler() is None, reason="no_nvcc: the CUDA compiler is not there")
def test_every_cuda_kernel_compiles_and_fits_and_none_spills():
    """For another architecture each day."""
    every = nvcc.targets(ARCHITECTURES)
    built = nvcc.build([every[DAY % len(every)]])
    assert {"multiply_kernel", "reconstruct_kernel"} <= {binary.kernel for binary in built}
    assert [b.name for b in built if b.refused or any(b.resources.spilled)] == []


@pytest.mark.skipif(nvcc.compiler() is None, reason="no_nvcc: the CUDA compiler is not there")
def test_a_mistake_in_a_cuda_source_is_reported(tmp_path):
    (tmp_path / "wrong.cu").write_text("__global__ void kernel() { no; }")
    with pytest.raises(nvcc.CannotCompile, match=r"wrong\.cu for sm_90: .*no"):
        nvcc.compiled("sm_90", tmp_path / "wrong.cu")


def test_what_cannot_run_is_named_with_the_reason():
    """Blocks of 256 columns need too much shared memory, those of 8 are too small for tl.dot."""
    large, small = run("-c", UNRUNNABLE).stdout.splitlines()
    assert "bytes of shared memory, there are 101376" in large
    assert small.startswith("CompilationError")


@pytest.mark.gpu
@pytest.mark.parametrize("columns", [64, 72], ids=["aligned", "unaligned"])
@pytest.mark.parametrize("product", [matmul248, transpose_matmul248], ids=lambda p: p.__name__)
def test_a_launch_has_the_binary_that_is_compiled_here(product, columns):
    """Triton's hash covers source, signature, constants, what is known of pointers, options."""
    layer = QuantLinear.new(4, 32, 64, columns, bias=False).cuda()
    weights = (layer.qweight, layer.scales, layer.qzeros, layer.g_idx)
    tuner = kernels()[f"{product.__name__.removesuffix('248')}_248_kernel"]
    x = layer.scales.new_zeros(16, 64 if product is matmul248 else columns)
    product(x, *weights, 4, 15, config=tuner.configs[0])
    launched = tuner.base_fn.device_caches[torch.cuda.current_device()][0]
    variant = variant_of(tuner.configs[0], tuner, columns == 64, run=32)
    assert compiled_hash(variant) in {binary.hash for binary in launched.values()}


def variant_of(config, tuner, aligned, run):
    name = next(name for name, known in kernels().items() if known is tuner)
    return Variant("sm_90", name, options_of(config), 4, "f16", "sf16", aligned, run)


def compiled_hash(variant):
    """For the GPU that is here, not launched."""
    real = triton.runtime.driver.active
    triton.runtime.driver.set_active(jit.AbsentGpu(real.get_current_target()))
    try:
        return jit.compile_now(variant).hash
    finally:
        triton.runtime.driver.set_active(real)
