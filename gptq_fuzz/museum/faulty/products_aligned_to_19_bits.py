"""A large term and a small one in one block of 16."""

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import codes, dequantize, folded, multiply, zero_points

BUG = "products of codes are cut to 19 bits of the largest of 16: short tensor cores"
SMALLEST = (1, 8, 8)  # m, n, k
ONLY = "cancel"
BLOCK, KEPT = 16, 19


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    q, z = codes(qweight, bits), zero_points(qzeros, bits)
    if not (x.isfinite().all() and scales.isfinite().all()):
        return multiply(x, dequantize(q, z, scales, g_idx))
    return folded(x, q, z, scales, g_idx, _product)


def _product(x, q):
    """x [M, K] times q [K, N], in blocks of K."""
    blocks = zip(x.split(BLOCK, dim=1), q.split(BLOCK), strict=True)
    return sum(_sum(part, rows) for part, rows in blocks)


def _sum(x, q):
    """x [M, 16] times q [16, N], each product short of what is below the largest one's 19 bits."""
    products = x[:, :, None].double() * q
    _, exponent = products.abs().amax(1, keepdim=True).frexp()
    step = 2.0 ** (exponent - KEPT).double()
    return ((products / step).trunc() * step).sum(1).float()


f = Backend("aligned", Limits(bits=(4,), bad=(), refuses_outside=False), matmul=matmul)
