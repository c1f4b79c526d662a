"""A layer that is asked with contiguous x, then with a slice of a wider tensor."""

from gptq_fuzz.museum.parts import matmul, of_first_call, read

BUG = "x of a layer is taken as contiguous because its first one was (LY-01, B-26)"
SMALLEST = (2, 4, 4)  # m, n, k
ONLY = "strided"

FIRST = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    shape, was_contiguous = of_first_call(FIRST, qweight, (x.shape, x.is_contiguous()))
    if x.shape == shape and was_contiguous:
        x = read(x, shape, (shape[1], 1))
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
