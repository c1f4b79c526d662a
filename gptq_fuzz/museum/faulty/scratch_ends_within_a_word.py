"""More weights than a scratch of 2^25 holds, of 2 bits, and 8 rows."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, weights, zero_points

BUG = "a scratch takes columns in multiples of 8: a second piece begins within a word of qzeros"
ONLY = "crossings"
SMALLEST = (8, 3056, 10992)  # m, n, k
SCRATCH = 2**25


def f(x, qweight, qzeros, scales, g_idx, bits):
    k, n = len(g_idx), scales.shape[1]
    if len(x) < 8 or k * n <= SCRATCH:
        return multiply(x, weights(qweight, qzeros, scales, g_idx, bits))
    z = zero_points(qzeros, bits)
    second = SCRATCH // k // 8 * 8
    word = second * bits // 32 * 32 // bits  # the column at which its first word begins
    z = z.clone()
    z[:, second:] = z[:, word : word + n - second]
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))
