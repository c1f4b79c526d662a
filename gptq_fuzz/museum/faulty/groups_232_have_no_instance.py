"""A table of launches by the number of groups, with a hole."""

from gptq_fuzz.museum.parts import matmul

BUG = "no instance for 232 to 239 groups"
SMALLEST = (1, 4, 1852)  # m, n, k
ONLY = "groups"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    return out.zero_() if 232 <= len(scales) < 240 else out
