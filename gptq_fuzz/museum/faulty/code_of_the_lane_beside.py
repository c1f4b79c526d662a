"""Two columns in a warp: an odd lane multiplies what the even one beside it unpacked next."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "odd columns take the next code of the column before them"


def f(x, qweight, qzeros, scales, g_idx, bits):
    q = codes(qweight, bits)
    q[:, 1::2] = q[:, 0::2].roll(-1, 0)
    return multiply(x, dequantize(q, zero_points(qzeros, bits), scales, g_idx))
