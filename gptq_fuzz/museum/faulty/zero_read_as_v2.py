"""Every weight is off by one scale."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, stored_zeros

BUG = "stored zero-points read without adding one, as format v2 has it (PK-04, museum 15)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    z = stored_zeros(qzeros, bits)
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))
