"""Two words of zero-points are needed, so N is two words."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "columns after the first word of qzeros take its zero-points (PK-08, L-18)"
SMALLEST = (1, 8, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    pack_factor = 32 // bits
    z = zero_points(qzeros, bits)
    z = z[:, :pack_factor].repeat(1, z.shape[1] // pack_factor)
    return multiply(x, dequantize(codes(qweight, bits), z, scales, g_idx))
