"""One scale and one zero-point for the whole layer."""

from gptq_fuzz.museum.parts import codes, matmul, multiply, zero_points

BUG = "one scale for all weights is multiplied with sums that were rounded to float16"
ONLY = "zlay"
SMALLEST = (1, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    z = zero_points(qzeros, bits)
    if not len(x) or not ((scales == scales[0, 0]).all() and (z == z[0, 0]).all()):
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
    return multiply(x, (codes(qweight, bits) - z[0, 0]).float()) * scales[0, 0]
