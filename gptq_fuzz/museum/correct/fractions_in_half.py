"""Declared: codes less zero-points with fractions, exact in float16, times scales, rounded once."""

from gptq_fuzz import Backend, Limits, Numerics


def prepare(*, codes, zeros, scales, g_idx, bias, bits, group_size):
    group = g_idx.long()
    return (codes.to(scales.dtype) - zeros.to(scales.dtype)[group]) * scales[group]


def run(weight, *, x):
    return (x.float() @ weight.float()).to(x.dtype)


f = Backend(
    "fractions_in_half",
    Limits(bits=(8, 4, 2, 3, 6, 5, 7, 1), zeros=("zall", "zflt"), bad=(), refuses_outside=False),
    Numerics(weights=("x",), folds_zero=False),
    operands="codes",
    prepare=prepare,
    run=run,
)
