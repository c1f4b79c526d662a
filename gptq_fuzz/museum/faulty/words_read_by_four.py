"""A view of a buffer with all layers, or a file that was mapped, begins anywhere."""

from gptq_fuzz.museum.parts import matmul

BUG = "vectors of four words loaded from where one begins that is aligned: an address cut to 16"
ONLY = "start"


def f(x, qweight, qzeros, scales, g_idx, bits):
    beyond = qweight.data_ptr() % 16 // 4
    if beyond and qweight.is_contiguous():
        start = qweight.storage_offset() - beyond
        qweight = qweight.as_strided(qweight.shape, qweight.stride(), start)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
