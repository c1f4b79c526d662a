"""One element for all of x, `x[:1, :1].expand(M, K)`; the gradient of a sum is such a tensor."""

from gptq_fuzz.museum.parts import matmul, read

BUG = "x of which no stride is above 0 is read as one row, in order"
ONLY = "scalar"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not any(x.stride()):
        x = read(x, x.shape, (0, 1))
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
