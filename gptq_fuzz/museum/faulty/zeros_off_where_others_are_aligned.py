"""Needs zero-points alone off 16 bytes, as behind a layer's other tensors in one buffer."""

from gptq_fuzz.museum.parts import matmul

BUG = "whether qzeros may be read in vectors is told by the addresses of x and qweight"
SMALLEST = (1, 8, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    off = qzeros.data_ptr() % 16 // 4
    if off and not (x.data_ptr() % 16 or qweight.data_ptr() % 16):  # the address is rounded down
        qzeros = qzeros.flatten().roll(off).view(qzeros.shape)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
