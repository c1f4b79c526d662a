"""One binary, by Triton's own JIT: asked to compile for a GPU that is not there, not to launch.

Signature, constants and what is known of pointers are thus those of a launch. Pointers are
multiples of 16 as torch allocates them, into less than 2 GiB (AMD's backend asks). A view with an
odd offset has a further binary, which differs from these only where ALIGNED holds.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import tempfile

import torch
import triton
from triton._C.libtriton import get_cache_invalidating_env_vars
from triton.backends.compiler import GPUTarget

from kernels.checks import SUPPORTED_BITS
from kernels.uniform_groups import wgmma, wgmma_kernel
from kernels.uniform_groups.plan import WGMMA_TILES, plan
from kernels.uniform_groups.weights import UniformWeights

from . import resources
from .architectures import ARCHITECTURES
from .resources import Resources
from .variants import Variant, fixed, kernels

DTYPES = {
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "sf16": torch.float16,
    "sbf16": torch.bfloat16,
    "sf32": torch.float32,
}
WGMMA = {tile.name: tile for tile in WGMMA_TILES}
SIZE = 16  # of any dimension or stride: the JIT looks at none of them but for its width, 32 bits


class AbsentGpu:
    """What the JIT asks a driver before it compiles."""

    def __init__(self, target: GPUTarget):
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> GPUTarget:
        return self.target  # the JIT only keys its caches by it

    def get_current_stream(self, device) -> None:
        return None


def compile_variant(variant: Variant) -> Resources:
    """What the binary needs. Raises what the compiler raises."""
    return needs_of(compile_away(variant))


def compile_away(variant: Variant) -> triton.compiler.CompiledKernel:
    """For the GPU that the variant names, which need not be here; leaves no file behind."""
    target = ARCHITECTURES[variant.arch].target
    triton.runtime.driver.set_active(AbsentGpu(target))
    with tempfile.TemporaryDirectory() as folder, triton.knobs.cache.scope():
        triton.knobs.cache.dir = folder
        return compile_now(variant)


def compile_now(variant: Variant) -> triton.compiler.CompiledKernel:
    """For the GPU of the active driver, whatever the variant says."""
    if variant.kernel in WGMMA:
        return _compile_warpgroups(variant)
    function = _kernel(variant.kernel)
    return function.warmup(grid=(1,), **arguments(function, variant))


def _compile_warpgroups(variant: Variant) -> triton.compiler.CompiledKernel:
    """A layer with groups of 128 rows, described to TMA."""
    (_, shares), dtype, rows = *variant.config, DTYPES[variant.dtype], 128
    words, x = rows * variant.bits // 32, torch.empty(SIZE, rows, dtype=dtype)
    qweight, qzeros = (torch.empty(size, rows, dtype=torch.int32) for size in (words, 1))
    scales, parts = torch.empty(1, rows, dtype=dtype), torch.empty(SIZE, rows)
    weights = UniformWeights(qweight, scales, qzeros, variant.bits, rows, None)
    chosen = plan(SIZE, rows, rows, variant.bits, rows, 1, tile=WGMMA[variant.kernel])
    results = torch.empty_like(x), parts, qzeros
    return wgmma.compiled(weights, x, *results, chosen._replace(shares=shares))[0]


def _kernel(name: str) -> triton.JITFunction:
    if name in WGMMA:
        return wgmma_kernel.wgmma_kernel
    tuner = kernels().get(name) or fixed(SUPPORTED_BITS[0])[name][0]
    return tuner.base_fn


def arguments(function: triton.JITFunction, variant: Variant) -> dict:
    """Name -> value of all that the kernel takes, and the launch options."""
    x, scales = DTYPES[variant.dtype], DTYPES[variant.scales_dtype]
    pointers = {"x_ptr": x, "w_ptr": x, "out_ptr": x, "scales_ptr": scales}
    pointers |= dict.fromkeys(("qweight_ptr", "qzeros_ptr", "g_idx_ptr"), torch.int32)
    pointers |= {"parts_ptr": torch.float32, "arrived_ptr": torch.int32}
    pointers |= {"order_ptr": torch.int16}  # of up to 2**15 rows
    constants = {"bits": variant.bits, "maxq": 2**variant.bits - 1}
    constants |= {"ALIGNED": variant.aligned, "RUN": variant.run}
    values = dict(variant.config)
    for param in function.params:
        if param.name in pointers:
            values[param.name] = torch.empty(SIZE, dtype=pointers[param.name])
        elif param.name in constants:
            values[param.name] = constants[param.name]
        elif param.do_not_specialize and not param.is_constexpr:
            values[param.name] = SIZE
        elif param.name not in values and not param.has_default:
            raise KeyError(
                f"which value has {param.name} of {variant.kernel}? Say so in {__name__}"
            )
    return values


def needs_of(compiled: triton.compiler.CompiledKernel) -> Resources:
    metadata = compiled.metadata
    known = {
        "threads": metadata.num_warps * metadata.target.warp_size,
        "shared": metadata.shared,
    }
    if "amdgcn" in compiled.asm:
        return resources.of_amdgcn(compiled.asm["amdgcn"], **known)
    known["tensor_memory"] = metadata.tmem_size
    return resources.of_cubin(compiled.asm["cubin"], metadata.name, **known)


def fingerprint(variant: Variant) -> str:
    """Of everything that `compile_variant` depends on; the same in every process."""
    parts = (source_key(variant.kernel), variant, triton.__version__, *_surroundings())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def source_key(kernel: str) -> str:
    """Of the source of a kernel and of what it calls, wherever in their files they stand."""
    function = _kernel(kernel)
    for value in (function, *function.__globals__.values()):
        if isinstance(value, triton.JITFunction):
            value.starting_line_number = 0  # else a line added above a kernel makes it a new one
    return function.cache_key


@functools.cache
def _surroundings() -> tuple:
    """Variables that change what Triton compiles, and the code that reads the binaries."""
    readers = (inspect.getmodule(reader) for reader in (compile_variant, Resources))
    return (sorted(get_cache_invalidating_env_vars().items()), *map(inspect.getsource, readers))
