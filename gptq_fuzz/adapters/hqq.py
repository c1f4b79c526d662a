"""HQQ's layer as it multiplies without a backend of others: dequantised in full, by torch."""

from __future__ import annotations

import torch
from hqq.core.quantize import HQQLinear, Quantizer

from gptq_fuzz.adapters.torch_matmul import DEQUANTIZED
from gptq_fuzz.case.axes import WHOLE_GROUP
from gptq_fuzz.case.backend import Backend, Limits


def prepare(*, codes, zeros, scales, bias, bits, group_size, **_):
    """A layer with codes of ours in HQQ's packing: a row for each group of a column."""
    K, N = codes.shape
    rows = K if group_size == WHOLE_GROUP else group_size
    layer = HQQLinear(None, None, compute_dtype=scales.dtype, device=codes.device.type)
    packing = Quantizer.bit_to_packing[bits]
    layer.W_q = Quantizer.pack[packing](codes.T.reshape(-1, rows))
    layer.meta = {
        "nbits": bits,
        "group_size": rows,
        "shape": torch.Size((N, K)),
        "axis": 1,
        "packing": packing,
        "view_as_float": False,
        "unpack_view_dtype": Quantizer.unpack_view_dtype[packing],
        "compute_dtype": scales.dtype,
        "quant_zero": False,
        "quant_scale": False,
        "scale": scales.T.reshape(-1, 1),
        "zero": zeros.T.reshape(-1, 1).to(scales.dtype),
    }
    layer.bias, layer.ready, layer.in_gpu = bias, True, True
    return layer


HQQ = Backend(
    "hqq",
    operands="codes",
    prepare=prepare,
    run=lambda layer, x: layer(x),
    limits=Limits(
        bits=(8, 4, 3, 2, 1),
        dtypes=("f16", "bf16", "f32"),
        scales_dtypes=("sf16", "sbf16", "sf32"),
        g_idx=("seq",),
        group_sizes=(8, 16, 32, 64, 128, WHOLE_GROUP),
        ranks=(2, 3, 4),
        bias=True,
        n_multiple=8,
        k_multiple=8,
        whole_groups=True,
        scales_as_x=True,
        bad=(),
        refuses_outside=False,
    ),
    numerics=DEQUANTIZED,
)
BACKENDS = {"hqq": HQQ}
