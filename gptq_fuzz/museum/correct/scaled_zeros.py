"""Declared: s q and s z each rounded to float16, and their difference too; float32 sums."""

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import codes, multiply, zero_points


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    g = g_idx.long()
    scaled_zeros = (zero_points(qzeros, bits) * scales.float()).half()
    scaled_codes = (codes(qweight, bits) * scales.float()[g]).half()
    return multiply(x, (scaled_codes - scaled_zeros[g]).float())


f = Backend(
    "scaled_zeros",
    Limits(bad=(), refuses_outside=False),
    Numerics(weights=("x",), folds_zero=False, scaled_zero=True),
    matmul,
)
