"""torch's own kernels for packed weights: int4 with groups on a CPU and on a GPU, int8 on a CPU."""

from __future__ import annotations

import dataclasses

import torch

from gptq_fuzz.case.axes import DTYPES, SCALES_DTYPES
from gptq_fuzz.case.backend import Backend, Limits, Numerics

INNER_TILES = 2  # of 16 rows each that lie together in a GPU's layout; a CPU takes no notice
WHOLE = {"scales_as_x": True, "whole_groups": True, "bad": (), "refuses_outside": False}
X_ROWS = {"layouts": ("", "off"), "m_least": 1}  # x has to be contiguous
CALLED = {"conditions": ("omp3", "grad", "infer", "threads2", "calls500", "stream")}


def prepare_int4(*, codes, zeros, scales, group_size, **_):
    """Rows of N codes as the kernel packs them, and (scale, (8 - z) * scale) of each group."""
    words, offsets = codes.T.contiguous().int(), (8 - zeros).to(scales.dtype) * scales
    if words.is_cuda:
        bytes_ = (words[:, ::2] << 4 | words[:, 1::2]).to(torch.uint8).contiguous()
        packed = torch.ops.aten._convert_weight_to_int4pack(bytes_, INNER_TILES)
    else:
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(words, INNER_TILES)
    return packed, group_size, torch.stack((scales, offsets), -1).contiguous()


def run_int4(state, *, x):
    """x [M, K] -> [M, N]."""
    if x.is_cuda:
        return torch.ops.aten._weight_int4pack_mm(x, *state)
    return torch.ops.aten._weight_int4pack_mm_for_cpu(x, *state)


def prepare_int8(*, codes, scales, **_):
    """Zero-points are 128, so a code is a signed byte."""
    return (codes.T.int() - 128).to(torch.int8).contiguous(), scales[0].contiguous()


def run_int8(state, *, x):
    """x [M, K] -> [M, N]."""
    return torch.ops.aten._weight_int8pack_mm(x, *state)


INT4 = {"bits": (4,), "g_idx": ("seq",), "group_sizes": (32, 64, 128, 256), **WHOLE, **CALLED}
FLOAT_ZERO = Numerics(zero="float", folds_zero=False)
BACKENDS = {
    "int4": Backend("int4", operands="codes", prepare=prepare_int4, run=run_int4,
        devices=("cpu",), numerics=FLOAT_ZERO,
        limits=Limits(dtypes=DTYPES, scales_dtypes=SCALES_DTYPES, n_multiple=16, k_multiple=32,
                      **X_ROWS, **INT4)),
    "int4-cuda": Backend("int4-cuda", operands="codes", prepare=prepare_int4, run=run_int4,
        devices=("cuda",), numerics=dataclasses.replace(FLOAT_ZERO, weights=("x",)),
        limits=Limits(dtypes=("bf16",), scales_dtypes=("sbf16",), n_multiple=8, k_multiple=32,
                      **X_ROWS, **INT4)),
    "int8": Backend("int8", operands="codes", prepare=prepare_int8, run=run_int8,
        devices=("cpu",), numerics=Numerics(folds_zero=False),
        limits=Limits(bits=(8,), dtypes=DTYPES, scales_dtypes=SCALES_DTYPES, g_idx=("seq",),
                      zeros=("zsym",), group_sizes=(-1,), **X_ROWS, **WHOLE, **CALLED)),
}  # fmt: skip
