"""GPTQModel's QuantLinear classes for checkpoints of GPTQ, each within its SUPPORTS_*."""

from __future__ import annotations

import importlib
import math

import torch
from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module

from gptq_fuzz.adapters.torch_matmul import DEQUANTIZED
from gptq_fuzz.case.backend import Backend, Limits, Numerics

FOLDER = "gptqmodel.nn_modules.qlinear"
FLOAT_ZERO = Numerics(zero="float", folds_zero=False)
CLASSES = {  # place, rounding, format, and columns that it asks for beside what SUPPORTS_* says
    "torch": ("torch.TorchLinear", DEQUANTIZED, "v2", 1),
    "triton": ("tritonv2.TritonV2Linear", DEQUANTIZED, "v2", 1),
    "aten": ("torch_aten_kernel.TorchAtenLinear", FLOAT_ZERO, "v2", 16),
    "v1": ("torch.TorchLinear", DEQUANTIZED, "v1", 1),  # its loader makes v2 of it
}
DTYPES = {torch.float16: "f16", torch.bfloat16: "bf16"}
SHARED = {"g_idx": ("seq", "act"), "whole_groups": True, "scales_as_x": True, "ranks": (2, 3)}
SHARED |= {"bias": True, "m_least": 1, "bad": (), "refuses_outside": False}


def backend(name: str, place: str, numerics: Numerics, stored: str, columns: int) -> Backend:
    """Of one class; a layer is filled with the operands as its loader fills it."""
    module, _, attribute = place.partition(".")
    kind = getattr(importlib.import_module(f"{FOLDER}.{module}"), attribute)

    def prepare(*, qweight, qzeros, scales, g_idx, bias, bits, group_size, checkpoint_format):
        sizes = {"in_features": len(g_idx), "out_features": scales.shape[1]}
        options = {"sym": False, "desc_act": True, "bias": bias is not None}
        layer = kind(bits, group_size, **options, **sizes, register_buffers=False)
        operands = {"qweight": qweight, "qzeros": qzeros.clone(), "scales": scales}
        for buffer, tensor in (operands | {"g_idx": g_idx, "bias": bias}).items():
            layer.register_buffer(buffer, tensor)
        if checkpoint_format == "v1":
            convert_gptq_v1_to_v2_format_module(layer, bits, torch.int32)
        layer.qzero_format(format=2)
        layer.optimized = True  # not compiled by torch
        layer.eval().post_init()
        return layer

    limits = Limits(
        bits=tuple(bits for bits in (4, 8, 2, 3) if bits in kind.SUPPORTS_BITS),
        dtypes=tuple(name for dtype, name in DTYPES.items() if dtype in kind.SUPPORTS_DTYPES),
        scales_dtypes=("sf16", "sbf16"),
        formats=(stored,),
        group_sizes=tuple(sorted(kind.SUPPORTS_GROUP_SIZE, reverse=True))[-5:],
        n_multiple=math.lcm(columns, *kind.SUPPORTS_OUT_FEATURES_DIVISIBLE_BY),
        k_multiple=math.lcm(*kind.SUPPORTS_IN_FEATURES_DIVISIBLE_BY),
        conditions=("omp3", "infer", "calls500"),
        **SHARED,
    )
    return Backend(name, limits, numerics, prepare=prepare, run=torch.nn.Module.__call__)


BACKENDS = {name: backend(name, *found) for name, found in CLASSES.items()}
