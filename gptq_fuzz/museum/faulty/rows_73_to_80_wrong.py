"""A dispatcher whose ranges leave out 73 to 80 rows: there the last row is never computed."""

from gptq_fuzz.museum.parts import matmul

BUG = "one bucket of rows, 73 to 80, goes to a path that ends a row early"
SMALLEST = (73, 4, 4)  # m, n, k
ONLY = "M"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if 73 <= len(x) <= 80:
        out[-1] = 0
    return out
