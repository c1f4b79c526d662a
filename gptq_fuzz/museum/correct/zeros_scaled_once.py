"""Declared: s z rounded to float16 when the layer is loaded; s q - s z and sums in float32."""

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import codes, multiply, zero_points


def prepare(*, qweight, qzeros, scales, g_idx, bits, **_described):
    zeros = (zero_points(qzeros, bits) * scales.float()).half()
    return codes(qweight, bits), zeros, scales, g_idx.long()


def run(state, *, x):
    q, zeros, scales, g = state
    return multiply(x, q * scales.float()[g] - zeros.float()[g])


f = Backend(
    "zeros_scaled_once",
    Limits(bad=(), refuses_outside=False),
    Numerics(weights=("exact",), folds_zero=False, scaled_zero=True),
    prepare=prepare,
    run=run,
)
