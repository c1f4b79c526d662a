"""AWQ's Triton kernels of an engine: a product, which vLLM asks up to 255 rows, and the weights."""

from __future__ import annotations

import dataclasses
from types import ModuleType

import torch

from gptq_fuzz.adapters.torch_matmul import DEQUANTIZED, ROUNDED
from gptq_fuzz.case.backend import Backend, Limits, Token
from gptq_fuzz.problem.codes import AWQ, repack
from gptq_fuzz.worker.drawn_times import INTERPRETED

# What its assertions let through; x comes as a layer got it, with any strides.
LIMITS = Limits(
    bits=(4,),
    dtypes=("f16",) if INTERPRETED else ("f16", "bf16"),
    scales_dtypes=("sf16",) if INTERPRETED else ("sf16", "sbf16"),
    g_idx=("seq",),
    group_sizes=(32, 64, 128, -1),
    layouts=("", "off", "pad", "xt"),
    m_least=1,
    n_multiple=8,
    whole_groups=True,
    scales_as_x=True,
    conditions=("omp3", "det", "grad", "infer", "stream"),
    bad=(),
    refuses_outside=False,
    tile=(64, 64, 32),
    max_tiles=16 if INTERPRETED else 8192,
)
SPLIT = Token("split", ("8", "1", "2", "4"), optional=True)


def prepare(*, codes, zeros, scales, **_):
    """Words along N in AWQ's order."""
    words, zero_words = (repack(part, 4, dim=1, order=AWQ) for part in (codes, zeros))
    return words, scales.contiguous(), zero_words


def dequantized(module: ModuleType) -> Backend:
    """x times the weights that a kernel has unpacked."""

    def run(state, *, x):
        return torch.matmul(x, module.awq_dequantize_triton(*state))

    return Backend("awq", LIMITS, DEQUANTIZED, prepare=prepare, run=run, operands="codes")


def multiplied(module: ModuleType) -> Backend:
    """The product; nothing says that its sums, and their parts, are in the dtype of x."""

    def run(state, *, x, split="8"):
        return module.awq_gemm_triton(x, *state, int(split))

    most = 8 if INTERPRETED else LIMITS.max_tiles  # each is computed in as many parts as split says
    limits = dataclasses.replace(LIMITS, tokens=(SPLIT,), tile=(32, 32, 32), max_tiles=most)
    return dataclasses.replace(dequantized(module), limits=limits, run=run, numerics=ROUNDED)
