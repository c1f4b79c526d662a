"""Any x at an odd storage offset shows it."""

from gptq_fuzz.museum.parts import matmul, read

BUG = "odd storage offset of x rounded down to a pair (B-16)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    x = read(x, x.shape, x.stride(), x.storage_offset() // 2 * 2)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
