"""bfloat16 x and result: weights rounded once to bfloat16, sums in float32, rounded once."""

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import multiply, weights


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits).bfloat16()
    return multiply(x, w.float())


f = Backend(
    "bfloat16_inputs",
    Limits(
        dtypes=("bf16",), scales_dtypes=("sf16", "sbf16", "sf32"), bad=(), refuses_outside=False
    ),
    Numerics(weights=("x",), folds_zero=False),
    matmul,
)
