"""A word of zero-points with a 0 that is not its last."""

from gptq_fuzz.museum.parts import codes, dequantize, fields, multiply

BUG = "zero-point 0 becomes -1 and sets every later field of its word (PK-01, L-13)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    stored = fields(qzeros, bits)
    maxq = 2**bits - 1
    later = (stored == maxq).cumsum(-1) > (stored == maxq)
    z = stored.masked_fill(later, maxq).flatten(1) + 1 & maxq
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))
