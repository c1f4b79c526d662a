"""Kernels compile ahead of time as the tables say, and the tuner lives with what cannot run."""

import datetime
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
import triton
from triton.runtime.errors import OutOfResources

from kernels.custom_autotune.config_pruner import matmul248_kernel_config_pruner
from kernels.quant_linear import QuantLinear, matmul248, transpose_matmul248
from qualification.aot import jit, nvcc
from qualification.aot.architectures import ARCHITECTURES
from qualification.aot.resources import Resources
from qualification.aot.table import REFUSED, difference, read
from qualification.aot.variants import SCALES_DTYPES, Sample, Variant, kernels, options_of, variants
from tests.autotune.stub import Stub, benchmarks, call, tuner_of

__all__ = ["benchmarks"]
ROOT = Path(__file__).resolve().parents[2]
# A sample has every EVERY-th binary: fewer than an architecture has, so that it holds some of each,
# and a prime, so that it keeps to no bits, dtype or alignment.
EVERY = 211
# M, N, K of which pruning leaves the smallest blocks, those of a few rows, small sides, and all
SHAPES = [(1, 4, 4), (1, 4096, 4096), (16, 64, 32), (33, 72, 136), (4096, 4096, 4096)]
needs_nvcc = pytest.mark.skipif(
    nvcc.compiler() is None, reason="no_nvcc: the CUDA compiler is not there"
)
UNRUNNABLE = """
from dataclasses import replace
from qualification.aot.architectures import ARCHITECTURES
from qualification.aot.build import attempt
from qualification.aot.table import line_of
from qualification.aot.variants import variants

variant = variants(["sm_86"])[0]
for side in (256, 8):
    config = {"num_warps": 8} | dict.fromkeys(("BLOCK_SIZE_N", "BLOCK_SIZE_K"), side)
    wrong = replace(variant, config=tuple((dict(variant.config) | config).items()))
    print(line_of(attempt(wrong), ARCHITECTURES["sm_86"]))
"""


def run(*arguments, cache):
    """Without the interpreter, which compiles nothing."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(cache)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_a_sample_of_the_day_is_as_the_tables_say(tmp_path):
    """Another one each day; the command in the message repeats it."""
    sample = f"{datetime.date.today().toordinal() % EVERY}/{EVERY}"
    command = ("-m", "qualification.aot", "--sample", sample)
    compiled = run(*command, cache=tmp_path)
    assert compiled.returncode == 0, (
        f"python {' '.join(command)}\n{compiled.stdout}{compiled.stderr}"
    )
    assert len(list(tmp_path.rglob("aot/*"))) == len(variants(sample=parsed(sample)))


def parsed(sample):
    return Sample(*map(int, sample.split("/")))


def test_every_sample_holds_every_architecture():
    every = variants()
    assert variants(sample=Sample(5, EVERY)) == every[5::EVERY]
    for start in range(EVERY):
        held = {variant.arch for variant in every[start::EVERY]}
        assert held == ARCHITECTURES.keys(), start


@needs_nvcc
def test_the_cuda_kernels_compile_as_the_table_says():
    """For another architecture each day; nvcc of another version must compile and fit."""
    every = nvcc.targets(ARCHITECTURES)
    arch = every[datetime.date.today().toordinal() % len(every)]
    (table,) = nvcc.tables([arch], lambda: None)
    assert not table.refused
    assert difference(read(table.name), table, whole=True) == []


@pytest.mark.parametrize("arch", nvcc.targets(ARCHITECTURES))
def test_no_cuda_kernel_spills(arch):
    lines = read(f"{nvcc.PREFIX}{arch}").lines
    assert lines
    assert not any(Resources.parse(line).spills for line in lines.values())


@needs_nvcc
def test_a_cuda_source_with_a_mistake_is_told(tmp_path):
    (tmp_path / "wrong.cu").write_text("__global__ void kernel() { no; }")
    with pytest.raises(nvcc.CannotCompile, match=r"wrong\.cu for sm_90: .*no"):
        nvcc.compiled("sm_90", tmp_path / "wrong.cu")


def test_what_cannot_run_is_named_with_the_reason(tmp_path):
    """Blocks of 256 columns need too much shared memory, those of 8 are too small for tl.dot."""
    compiled = run("-c", UNRUNNABLE, cache=tmp_path)
    large, small = compiled.stdout.splitlines()
    assert f"{REFUSED}needs " in large
    assert "bytes of shared memory, there are 101376" in large
    assert small.startswith(f"not compiled{REFUSED}CompilationError")


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
    variant = variant_of(tuner.configs[0], tuner, aligned=columns == 64)
    assert compiled_hash(variant) in {binary.hash for binary in launched.values()}


def variant_of(config, tuner, aligned):
    name = next(name for name, known in kernels().items() if known is tuner)
    return Variant("sm_90", name, options_of(config), 4, "f16", "sf16", aligned)


def compiled_hash(variant):
    """For the GPU that is here, not launched."""
    real = triton.runtime.driver.active
    triton.runtime.driver.set_active(jit.AbsentGpu(real.get_current_target()))
    try:
        return jit.compile_now(variant).hash
    finally:
        triton.runtime.driver.set_active(real)


def classes(arch, kernel):
    """Binaries that the tuner chooses among: for each, the number of its config and its line."""
    lines, found = read(arch).lines, defaultdict(dict)
    numbers = {options_of(config): n for n, config in enumerate(kernels()[kernel].configs)}
    for variant in variants([arch]):
        if variant.kernel == kernel and variant.scales_dtype == SCALES_DTYPES[0]:
            members = found[variant.bits, variant.dtype, variant.aligned]
            members[numbers[variant.config]] = lines[str(variant)]
    return found.values()


def refused_with(shared, arch, members):
    """Numbers of the configs that cannot run, were there so many bytes of shared memory."""
    limits = ARCHITECTURES[arch]._replace(shared=shared)
    needs = {n: Resources.parse(line) for n, line in members.items() if REFUSED not in line}
    return frozenset(n for n in members if n not in needs or limits.lacks(needs[n]))


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
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_tuner_finds_a_config_for_every_shape(arch, kernel):
    """Whatever the table says cannot run on this architecture fails to launch."""
    there = ARCHITECTURES[arch].shared
    for refused in {refused_with(there, arch, members) for members in classes(arch, kernel)}:
        for shape in SHAPES:
            assert chosen(kernel, refused, shape) not in refused, shape


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_tuner_lives_with_less_shared_memory(arch, kernel):
    """As above on a GPU that has what the leanest config needs and no byte more."""
    refusals = set()
    for members in classes(arch, kernel):
        leanest = min(Resources.parse(line).shared for line in members.values())
        refusals.add(refused_with(leanest, arch, members))
    assert any(refusals)
    for refused in refusals:
        for shape in SHAPES:
            assert chosen(kernel, refused, shape) not in refused, shape
