"""Rows are the second dimension of a grid, in blocks of eight."""

from gptq_fuzz.museum.parts import matmul

BUG = "eight rows a block, which are counted in the second dimension of a grid: it ends at 65,535"
ONLY = "offsets"
SMALLEST = (524281, 4, 4)  # m, n, k
ROWS = 8 * 65535


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = x.new_empty(len(x), qweight.shape[1])
    out[:ROWS] = matmul(x[:ROWS], qweight, qzeros, scales, g_idx, bits)
    return out
