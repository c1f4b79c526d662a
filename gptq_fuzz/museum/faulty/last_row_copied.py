"""Two rows: the one copied and the one lost."""

from gptq_fuzz.museum.parts import matmul

BUG = "last row is a copy of the one before it"
SMALLEST = (2, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if len(out) > 1:
        out[-1] = out[-2]
    return out
