"""A layer that is asked with strided x, then with contiguous x of the same shape."""

from gptq_fuzz.museum.parts import matmul, of_first_call, read

BUG = "strides of a layer's first x are kept: later ones are read by them (BF-08)"
SMALLEST = (2, 4, 4)  # m, n, k
ONLY = "contiguous"

FIRST = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    shape, strides = of_first_call(FIRST, qweight, (x.shape, x.stride()))
    if x.shape == shape and x.is_contiguous():
        x = read(x, shape, strides)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
