"""Every second column of a wider tensor, `wide[:, ::2]`; one row shows it."""

from gptq_fuzz.museum.parts import matmul, read

BUG = "one stride of x taken to be 1 where neither is"
ONLY = "step"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if 1 not in x.stride():
        x = read(x, x.shape, (x.stride(0), 1))
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
