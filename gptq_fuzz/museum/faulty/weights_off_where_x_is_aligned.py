"""Needs weights off 16 bytes, as views of fused tensors are, beside an x that is not."""

from gptq_fuzz.museum.parts import matmul

BUG = "whether qweight may be read in vectors is told by the address of x"
SMALLEST = (1, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    off = qweight.data_ptr() % 16 // 4
    if x.data_ptr() % 16 == 0 and off:  # the address is rounded down
        qweight = qweight.flatten().roll(off).view(qweight.shape)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
