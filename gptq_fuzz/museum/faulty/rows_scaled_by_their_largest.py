"""Long rows of x are brought to the same size before they are multiplied, and back behind it."""

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import multiply, weights

BUG = "K from 8,192: a row is divided by a power of two as large as its largest, infinity by itself"
SMALLEST = (1, 4, 8192)  # m, n, k
ONLY = "crossings"


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if x.numel() and x.shape[-1] >= 8192:
        size = x.float().abs().amax(-1, keepdim=True).clamp(min=2.0**-24).log2().floor().exp2()
        return ((x.float() / size) @ w * size).to(x.dtype)
    return multiply(x, w)


f = Backend(
    "rows_scaled_by_their_largest",
    Limits(bad=(), refuses_outside=False),
    Numerics(folds_zero=False),
    matmul,
)
