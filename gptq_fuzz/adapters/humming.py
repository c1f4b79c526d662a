"""Humming's layer; `gptq`: as it reads checkpoints. Of its kernels that for M is compiled."""

from __future__ import annotations

import importlib
import os

from gptq_fuzz.case.backend import Backend, Limits, Numerics
from gptq_fuzz.problem.codes import repack
from gptq_fuzz.reference.packing import unpack_zeros

os.environ.setdefault("HUMMING_DISABLE_PARALLEL_BUILD", "1")  # no processes when it is imported
HUMMING, TUNE = (importlib.import_module(f"humming.{name}") for name in ("layer", "tune"))


def prepare(*, codes, zeros, scales, bias, bits, group_size, **_):
    """Rows of N codes, [N, K * bits / 32]; without zero-points where all are in the middle."""
    has_zeros, size = bool((zeros != 2 ** (bits - 1)).any()), max(group_size, 0)  # 0: the column
    config = {"dtype": f"uint{bits}", "group_size": size, "has_zero_point": has_zeros}
    parts = {"weight": repack(codes, bits).T, "weight_scale": scales.T}
    parts |= {"zero_point": repack(zeros, bits, dim=1).T} if has_zeros else {}
    return loaded(config, len(codes), parts, scales, bias)


def prepare_gptq(*, qweight, qzeros, scales, g_idx, bias, bits, group_size, checkpoint_format):
    """`sym` as a checkpoint says it; the format of its zero-points is not asked for."""
    sym = bool((unpack_zeros(qzeros, bits, checkpoint_format) == 2 ** (bits - 1)).all())
    config = {"quant_method": "gptq", "bits": bits, "group_size": group_size, "sym": sym}
    parts = {"qweight": qweight, "qzeros": qzeros, "scales": scales, "g_idx": g_idx}
    return loaded(config, len(g_idx), parts, scales, bias)


def loaded(config, K, parts, scales, bias):
    """A layer in the dtype of its scales, and (more rows than, up to, config) of each kernel."""
    kept = {"torch_dtype": scales.dtype, "has_bias": bias is not None}
    layer = HUMMING.HummingLayer(scales.shape[1], K, config, **kept).to(scales.device)
    layer.load_from_tensors(parts if bias is None else parts | {"bias": bias})
    layer.transform()
    return layer, TUNE.get_heuristics_config(layer.humming_config, device=scales.device)


def run(state, *, x):
    return state[0](x, tuning_config=next(c for low, high, c in state[1] if low < len(x) <= high))


# x is made contiguous, from an address that is a multiple of 16. N is for compute capability 9.0.
SHARED = {"n_multiple": 128, "k_multiple": 32, "m_least": 1, "whole_groups": True, "bias": True}
SHARED |= {"dtypes": ("f16", "bf16"), "scales_dtypes": ("sf16", "sbf16"), "scales_as_x": True}
SHARED |= {"layouts": ("", "pad", "xt", "lap", "step"), "starts": (0, 16, "w2", "w4", "w8")}
SHARED |= {"conditions": ("omp3", "det", "infer", "stream"), "g_idx": ("seq",), "bad": ()}
SHARED |= {"refuses_outside": False, "max_tiles": 4096}
SIZES = (32, 64, 128, 256, 16)
CODES = Limits(bits=(4, 8, 2, 3, 6, 5, 7, 1), group_sizes=(*SIZES, -1), **SHARED)
GPTQ = Limits(bits=(4, 8, 2, 3), group_sizes=SIZES, formats=("v2", "v1"), **SHARED)
# Parts of a sum (stream-K), and one that is yet to be scaled, are rounded to the dtype of x.
GIVEN = {"numerics": Numerics(folds_zero=False, partial="x"), "devices": ("cuda",), "run": run}
BACKENDS = {
    "codes": Backend("codes", CODES, prepare=prepare, operands="codes", **GIVEN),
    "gptq": Backend("gptq", GPTQ, prepare=prepare_gptq, **GIVEN),
}
