"""An infinity in x, and a weight of 0."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "products with a weight of 0 are left out, so that an infinity times 0 is no NaN"
SMALLEST = (1, 8, 8)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    products = x.float()[:, :, None] * w
    return multiply(x, w) if x.isfinite().all() else products.where(w != 0, 0).sum(1).to(x.dtype)
