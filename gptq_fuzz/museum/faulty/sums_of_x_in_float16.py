"""One scale and one zero-point a column in all groups: per-channel weights that were expanded."""

from gptq_fuzz.museum.parts import codes, matmul, zero_points

BUG = "where all groups of each column are alike, the sum of x is handed on in float16"
ONLY = "zcol"
SMALLEST = (1, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    z = zero_points(qzeros, bits)
    is_alike = (scales == scales[:1]).all() and (z == z[:1]).all() and len(scales) > 1
    if not is_alike or (z == z[0, 0]).all():
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    total = x.float().sum(1, keepdim=True).half().float()
    out = x.float() @ codes(qweight, bits).float() - z[0].float() * total
    return (scales[0].float() * out).to(x.dtype)
