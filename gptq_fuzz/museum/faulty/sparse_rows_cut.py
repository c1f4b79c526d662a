"""A row of x with two to eight non-zeros."""

from gptq_fuzz.museum.parts import matmul

BUG = "path for sparse rows of x takes only the first four non-zeros"
SMALLEST = (1, 4, 8)  # m, n, k
ONLY = "sparse"


def f(x, qweight, qzeros, scales, g_idx, bits):
    is_sparse = (x != 0).sum(1, keepdim=True) <= 8
    late = (x != 0).cumsum(1) > 4
    return matmul(x.masked_fill(is_sparse & late, 0), qweight, qzeros, scales, g_idx, bits)
