"""x as columns that follow each other: a product for these knows the distance of columns alone."""

from gptq_fuzz.museum.parts import matmul, read

BUG = "rows of x that are closer than its columns are taken to be next to each other"
ONLY = "xts"
SMALLEST = (2, 4, 4)


def f(x, qweight, qzeros, scales, g_idx, bits):
    row, column = x.stride()
    if 1 < row < column:
        x = read(x, x.shape, (1, column))
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
