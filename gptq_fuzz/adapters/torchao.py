"""torchao's Triton kernel for 4 bits, `triton_mixed_mm`, with either of its lists of configs."""

from __future__ import annotations

import functools

from torchao.prototype.hqq.mixed_mm import pack_2xint4, triton_mixed_mm

from gptq_fuzz.case.backend import Backend, Limits, Numerics
from gptq_fuzz.worker.drawn_times import INTERPRETED, TUNED


def prepare(*, codes, zeros, scales, group_size, **_):
    """Two codes a byte along K; zero-points in the dtype of x."""
    return pack_2xint4(codes), scales.contiguous(), zeros.to(scales.dtype), group_size


def run(state, *, x, configs):
    """x [M, K] -> [M, N]."""
    return triton_mixed_mm(x, *state, kernel_type=configs)


# Of max_autotune most split K, and add atomically: partial sums are rounded to x's dtype.
LIMITS = Limits(
    bits=(4,),
    dtypes=("f16",) if INTERPRETED else ("f16", "bf16"),  # the interpreter has no bfloat16 products
    scales_dtypes=("sf16",) if INTERPRETED else ("sf16", "sbf16"),
    g_idx=("seq",),
    group_sizes=(32, 64, 128),
    layouts=("", "off", "pad"),
    m_least=1,
    n_multiple=32,
    k_multiple=32,
    whole_groups=True,
    scales_as_x=True,
    conditions=("omp3", "det", "grad", "infer", "stream"),
    bad=(),
    refuses_outside=False,
    tokens=(TUNED,),
    tile=(64, 64, 32),
    max_tiles=16 if INTERPRETED else 8192,
)
BACKENDS = {
    name: Backend(
        name=name,
        operands="codes",
        prepare=prepare,
        run=functools.partial(run, configs=configs),
        limits=LIMITS,
        numerics=Numerics(weights=("x",), folds_zero=False, partial=partial),
    )
    for name, configs, partial in (
        ("mixed_mm", "compute_bound", "f32"),
        ("mixed_mm-max", "max_autotune", "x"),
    )
}
