"""Declared: holds (c - z) s in x's dtype, c = 2^(bits-1), and adds it to (q - c) s in float32."""

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import codes, multiply, zero_points


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    rows, middle = g_idx.long(), 2 ** (bits - 1)
    stored = ((middle - zero_points(qzeros, bits)).float() * scales.float()).to(x.dtype)
    w = (codes(qweight, bits) - middle).float() * scales.float()[rows] + stored.float()[rows]
    return multiply(x, w)


f = Backend(
    "float_zeros",
    Limits(dtypes=("f16", "bf16"), scales_dtypes=("sf16", "sbf16"), bad=(), refuses_outside=False),
    Numerics(folds_zero=False, zero="float"),
    matmul,
)
