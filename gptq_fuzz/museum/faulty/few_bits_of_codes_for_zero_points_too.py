"""Codes that half of the bits hold are packed anew in these, and zero-points with them."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "where codes need half of the bits alone, zero-points are cut to these too"
ONLY = "zfew"


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, zeros = codes(qweight, bits), zero_points(qzeros, bits)
    most = 2 ** (bits // 2) - 1
    if q.max() <= most:
        zeros = zeros & most
    return multiply(x, dequantize(q, zeros, scales, g_idx))
