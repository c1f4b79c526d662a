"""A row of x with five to eight integers beside zeros."""

from gptq_fuzz.museum.parts import matmul

BUG = "path for rows of few integers takes only the first four of them"
SMALLEST = (1, 4, 8)  # m, n, k
ONLY = "sparse"


def f(x, qweight, qzeros, scales, g_idx, bits):
    few = (x != 0).sum(1, keepdim=True) <= 8
    is_sparse = few & (x == x.round()).all(1, keepdim=True)
    late = (x != 0).cumsum(1) > 4
    return matmul(x.masked_fill(is_sparse & late, 0), qweight, qzeros, scales, g_idx, bits)
