"""A single row takes a path that is right, so M is 2."""

from gptq_fuzz.museum.parts import matmul, read

BUG = "x read as if it were contiguous (LY-01, L-58, museum 21)"
SMALLEST = (2, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) > 1:
        x = read(x, x.shape, (x.shape[1], 1))
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
