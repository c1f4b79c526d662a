"""What users would pick instead, measured in the same run: cuBLAS, torch's int4 kernel, gemlite."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional

from gptq_fuzz.case.case import Case
from gptq_fuzz.reference.packing import unpack_rows, unpack_zeros

CUBLAS = "cuBLAS fp16"
INNER_K_TILES = 8  # of torch's int4 layout: the widest that it has
MIDDLE = 8  # torch's int4 kernel subtracts this from every code


class Peer(NamedTuple):
    """`serves(case)`, and `layer(weights) -> (x -> out)` on packed weights; x in `dtype`."""

    name: str
    serves: Callable[[Case, bool], bool]
    layer: Callable[[dict], Callable]
    dtype: torch.dtype = torch.float16


def dense_layer(weight: torch.Tensor) -> Callable:
    """[N, K] float16 -> x times its transpose, by cuBLAS."""
    return lambda x: functional.linear(x, weight)


def _parts(weights: dict) -> tuple[torch.Tensor, ...]:
    """Codes [K, N] int64, zero-points [G, N] int64, scales [G, N] float32."""
    codes = unpack_rows(weights["qweight"], weights["bits"])
    zeros = unpack_zeros(weights["qzeros"], weights["bits"], weights["checkpoint_format"])
    return codes, zeros, weights["scales"].float()


def tinygemm_operands(weights: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes [N, K] int32, and [G, N, 2] bfloat16: W = (q - 8) s + (8 - z) s."""
    codes, zeros, scales = _parts(weights)
    pairs = torch.stack([scales, (MIDDLE - zeros) * scales], dim=2)
    return codes.T.contiguous().int(), pairs.bfloat16()


def tinygemm(weights: dict) -> Callable:
    """torch's weight-only int4 product, in bfloat16."""
    codes, pairs = tinygemm_operands(weights)
    ops, group_size = torch.ops.aten, weights["group_size"]
    if codes.device.type == "cpu":
        packed = ops._convert_weight_to_int4pack_for_cpu(codes, 1)
        return lambda x: ops._weight_int4pack_mm_for_cpu(x, packed, group_size, pairs)
    two = (codes[:, ::2] << 4 | codes[:, 1::2]).to(torch.uint8)
    packed = ops._convert_weight_to_int4pack(two, INNER_K_TILES)
    return lambda x: ops._weight_int4pack_mm(x, packed, group_size, pairs)


def gemlite(weights: dict) -> Callable:
    """gemlite's Triton kernels with its default tuning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        from gemlite.core import DType, GemLiteLinearTriton
    codes, zeros, scales = _parts(weights)
    layer = GemLiteLinearTriton(
        weights["bits"],
        group_size=weights["group_size"],
        in_features=codes.shape[0],
        out_features=codes.shape[1],
        input_dtype=DType.FP16,
        output_dtype=DType.FP16,
    )
    per_row = (tensor.T.contiguous().half() for tensor in (scales, zeros))
    layer.pack(codes.T.contiguous().to(torch.uint8), *per_row)
    return layer


def _int4_in_order(case: Case, on_gpu: bool) -> bool:
    # Its tiles: 8 columns, and INNER_K_TILES times 16 rows; on a CPU 16 columns.
    whole = case.k % (16 * INNER_K_TILES) == 0 and case.n % 16 == 0
    return (case.bits, case.g_idx) == (4, "seq") and whole


def _in_order_on_gpu(case: Case, on_gpu: bool) -> bool:
    return on_gpu and case.g_idx == "seq"


PEERS = (
    Peer("tinygemm", _int4_in_order, tinygemm, torch.bfloat16),
    Peer("gemlite", _in_order_on_gpu, gemlite),
)
