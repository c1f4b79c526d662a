"""A tail of twelve columns behind whole tiles of 64, between the 8 and the 16 of its paths."""

from gptq_fuzz.museum.parts import matmul

BUG = "behind whole tiles of 64 columns a tail of 12 is stored as one of 8"
SMALLEST = (1, 76, 4)  # m, n, k
ONLY = "N"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if out.shape[1] > 64 and out.shape[1] % 64 == 12:
        out[:, -4:] = 0
    return out
