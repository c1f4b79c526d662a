"""Declared: the bias is added to the rounded sum. Better than that: in float32, rounded once."""

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import weights


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, bias, **_described):
    out = x.float() @ weights(qweight, qzeros, scales, g_idx, bits)
    return (out if bias is None else out + bias.float()).to(x.dtype)


f = Backend(
    "bias_after_in_float32",
    Limits(bias=True, bad=(), refuses_outside=False),
    Numerics(weights=("x",), folds_zero=False, bias_after=True),
    matmul,
)
