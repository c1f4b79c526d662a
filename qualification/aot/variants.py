"""Which binaries there are: kernels, the tuner's configs, bits, dtypes and alignment.

Kernels come from `kernels.triton_matmul`: whatever an Autotuner wraps there is compiled. Those of
`kernels.uniform_groups`, for Hopper alone, have one config each and constants of a call.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import triton

from kernels import triton_matmul
from kernels.checks import SUPPORTED_BITS
from kernels.custom_autotune import Autotuner
from kernels.runs import RUNS
from kernels.uniform_groups import product as grouped
from kernels.uniform_groups.plan import WGMMA_TILES

from .architectures import ARCHITECTURES

DTYPES = ("f16", "bf16")  # of x and the result, as in the line of a Case
SCALES_DTYPES = ("sf16", "sbf16", "sf32")  # the first with every config, the others with one
RUNS_ALIGNED = ((RUNS[0], True), (1, True), (1, False))  # of the general kernels
SHORT = {
    "BLOCK_SIZE_M": "BM",
    "BLOCK_SIZE_N": "BN",
    "BLOCK_SIZE_K": "BK",
    "BLOCKS_IN_GROUP": "BG",
    "GROUP_SIZE_M": "GM",
    "num_warps": "w",
    "num_stages": "st",
}
DEFAULTS = {"num_ctas": 1}  # left out of names
MEASURED = f"sm_{grouped.MEASURED}0"


@dataclass(frozen=True)
class Variant:
    """One binary. Prints as its name, which the architecture is no part of."""

    arch: str
    kernel: str  # its name in kernels.triton_matmul
    config: tuple[tuple[str, int], ...]  # launch options and block sizes
    bits: int
    dtype: str
    scales_dtype: str
    aligned: bool
    run: int = 1  # rows of K of one group, of the general kernels; more than one: and aligned

    def __str__(self) -> str:
        alignment = "aligned" if self.aligned else "unaligned"
        if self.run > 1:
            alignment = f"run{self.run}"
        parts = (self.kernel, name_of(self.config), f"b{self.bits}", self.dtype, self.scales_dtype)
        return " ".join((*parts, alignment))


def kernels() -> dict[str, Autotuner]:
    """Name -> kernel under its autotuner."""
    found = vars(triton_matmul).items()
    return {name: value for name, value in found if isinstance(value, Autotuner)}


def fixed(bits: int) -> dict[str, tuple[Autotuner, dict[str, int]]]:
    """Name -> kernel of one config, and its constants in a large product with groups of 128."""
    found = {}
    for tile, kernel in grouped.fused.items():
        found[tile.name] = kernel, {
            "BITS": bits, "SHARES": 4, "BLOCK_SIZE_K": tile.most_k,
            "BLOCKS_IN_GROUP": 128 // tile.most_k, "WHOLE": True, "ARRANGED": tile.arranges,
        }  # fmt: skip
    for tile, kernel in grouped._dense.items():
        found[tile.name] = kernel, {
            "TRANSPOSED": False, "WHOLE": True, "BLOCK_SIZE_K": tile.most_k,
        }  # fmt: skip
    fields = 32 // bits
    found["arrange_rows"] = grouped.arrange, {"ORDERED": True, "FIELDS": fields}
    in_group = 128 // grouped.SMALLEST_BLOCK
    written = {"BITS": bits, "ORDERED": True, "BLOCKS_IN_GROUP": in_group, "WHOLE": True}
    found["write_weights"] = grouped._write_weights, written
    sorting = {"FIELDS": fields, "ROW": grouped.LONGEST_SORTED}
    found["sort_columns"] = grouped._sort_columns, sorting
    return found


def variants(architectures=ARCHITECTURES, only: str = "") -> list[Variant]:
    """One architecture after the other; those whose name holds `only`."""
    every = (variant for arch in architectures for variant in _variants_of(arch))
    return [variant for variant in every if only in str(variant)]


def _variants_of(arch: str):
    for (name, tuner), scales_dtype in itertools.product(kernels().items(), SCALES_DTYPES):
        configs = tuner.configs if scales_dtype == SCALES_DTYPES[0] else tuner.configs[:1]
        for config, *rest in itertools.product(configs, SUPPORTED_BITS, DTYPES, RUNS_ALIGNED):
            bits, dtype, (run, aligned) = rest
            options = options_of(config)
            yield Variant(arch, name, options, bits, dtype, scales_dtype, aligned, run)
    if arch != MEASURED:
        return
    for bits, dtype in itertools.product(SUPPORTED_BITS, DTYPES):
        scales_dtypes = SCALES_DTYPES if dtype == DTYPES[0] else SCALES_DTYPES[1:2]
        for (name, (tuner, constants)), scales in itertools.product(
            fixed(bits).items(), scales_dtypes
        ):
            config = options_of(tuner.configs[0]) + tuple(constants.items())
            yield Variant(arch, name, config, bits, dtype, scales, True)
        for tile, shares in itertools.product(WGMMA_TILES, (1, 4)):
            yield Variant(arch, tile.name, (("SHARES", shares),), bits, dtype, f"s{dtype}", True)


def options_of(config: triton.Config) -> tuple[tuple[str, int], ...]:
    """Everything of a config that the compiler reads; hooks are the tuner's."""
    return tuple(config.all_kwargs().items())


def name_of(config: tuple[tuple[str, int], ...]) -> str:
    """`BM64.BN64.BK64.GM8.w4.st4`"""
    return ".".join(
        f"{SHORT[name]}{value}" if name in SHORT else f"{name}={value}"
        for name, value in config
        if DEFAULTS.get(name) != value
    )
