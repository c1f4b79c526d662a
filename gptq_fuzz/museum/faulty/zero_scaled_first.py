"""One product shows it."""

from gptq_fuzz.museum.parts import codes, multiply, zero_points

BUG = "q s and z s rounded to float16 before the subtraction"


def f(x, qweight, qzeros, scales, g_idx, bits):
    g, s = g_idx.long(), scales.float()
    scaled_q = (codes(qweight, bits) * s[g]).half()
    scaled_z = (zero_points(qzeros, bits) * s).half()
    return multiply(x, scaled_q.float() - scaled_z[g].float())
