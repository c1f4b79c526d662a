"""Each of two halves of K is given the bias times 1 or 0, which makes NaN of an infinite one."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import weights

BUG = "the bias is selected by a product with 0: an infinite one is NaN"


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, bias, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    half = len(w) // 2
    sums = [
        x[..., part].float() @ w[part] + (0 if bias is None else bias.float() * is_first)
        for part, is_first in ((slice(half), 1.0), (slice(half, None), 0.0))
    ]
    return (sums[0] + sums[1]).to(x.dtype)


f = Backend(
    "bias_selected_by_a_product", Limits(bias=True, bad=(), refuses_outside=False), matmul=matmul
)
