"""A storage is bound whole, with the place in it where an operand begins."""

from gptq_fuzz.museum.parts import matmul

BUG = "where an operand begins in its storage is told in 32 bits, in bytes"
SMALLEST = (1, 4, 4)  # m, n, k
ONLY = "offsets"


def bound(tensor):
    item = tensor.element_size()
    start = tensor.storage_offset() * item % 2**32
    return tensor.as_strided(tensor.shape, tensor.stride(), start // item)


def f(x, qweight, qzeros, scales, g_idx, bits):
    return matmul(x, bound(qweight), qzeros, scales, g_idx, bits)
