"""gemlite's layer for codes with groups, or one scale a column; it chooses its kernel by M."""

from __future__ import annotations

import torch
from gemlite import DType, GemLiteLinear

from gptq_fuzz.case.axes import WHOLE_GROUP
from gptq_fuzz.case.backend import Backend, Limits, Numerics
from gptq_fuzz.worker.drawn_times import INTERPRETED, TUNED

DTYPES = {torch.float16: DType.FP16, torch.bfloat16: DType.BF16}


def prepare(*, codes, zeros, scales, bias, bits, group_size, **_):
    """Rows of N codes; zero-points are kept times the scale, in its dtype."""
    K, N = codes.shape
    kind = DTYPES[scales.dtype]
    rows = K if group_size == WHOLE_GROUP else group_size
    layer = GemLiteLinear(bits, rows, K, N, input_dtype=kind, output_dtype=kind)
    columns = codes.T.contiguous(), scales.T.contiguous(), zeros.T.to(scales.dtype).contiguous()
    return layer.pack(*columns, bias=bias)


def run(layer, *, x):
    """x [..., K] -> [..., N]."""
    return layer(x)


GEMLITE = Backend(
    name="gemlite",
    operands="codes",
    prepare=prepare,
    run=run,
    limits=Limits(
        bits=(8, 4, 2),  # of 1 bit and groups of 32 it admits no config
        dtypes=("f16",) if INTERPRETED else ("f16", "bf16"),
        scales_dtypes=("sf16",) if INTERPRETED else ("sf16", "sbf16"),
        g_idx=("seq",),
        group_sizes=(32, 64, 128, WHOLE_GROUP),
        layouts=("", "pad", "xt", "off", "step"),
        ranks=(2, 3),
        bias=True,
        m_least=1,
        n_multiple=32,
        k_multiple=32,
        whole_groups=True,
        scales_as_x=True,
        conditions=("omp3", "det", "infer", "stream"),
        bad=(),
        refuses_outside=False,
        tokens=(TUNED,),
        tile=(64, 64, 32),
        max_tiles=8 if INTERPRETED else 8192,
    ),
    numerics=Numerics(weights=("x",), scaled_zero=True, partial="x"),
)
BACKENDS = {"gemlite": GEMLITE}
