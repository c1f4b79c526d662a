"""x of interleaved columns, `wide[:, ::3]`: what lies between them is taken apart by halves."""

from gptq_fuzz.museum.parts import matmul, read

BUG = "the distance of columns of x is rounded down to a power of two"
ONLY = "leap"


def f(x, qweight, qzeros, scales, g_idx, bits):
    row, column = x.stride()
    if column > 1 and row != 1:
        x = read(x, x.shape, (row, 1 << column.bit_length() - 1))
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
