"""Declared: weights, each product and each sum in float16, over four lanes that are joined."""

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import weights

LANES = 4


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits).half()
    lanes = [x.new_zeros(len(x), w.shape[1]) for _ in range(LANES)]
    for k, row in enumerate(w):
        lanes[k % LANES] += x[:, k, None] * row
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])


f = Backend(
    "float16_accumulator",
    Limits(bad=(), refuses_outside=False),
    Numerics(weights=("x",), folds_zero=False, accumulator="f16", partial="f16"),
    matmul,
)
