"""A single row takes a path that is right, so M is 2."""

from gptq_fuzz.museum.parts import matmul, read

BUG = "stride 0 of x taken as not given, that is contiguous (LY-01)"
SMALLEST = (2, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) > 1:
        x = read(x, x.shape, (x.stride(0) or x.shape[1], x.stride(1) or 1))
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
