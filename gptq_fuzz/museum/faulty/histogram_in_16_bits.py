"""A group of more than 32,767 rows, groups out of order."""

from gptq_fuzz.museum.parts import largest_group, matmul

BUG = "rows of a group counted in 16 bits (B-06, L-55)"
VERDICTS = ("RAISED",)
SMALLEST = (1, 4, 32772)  # m, n, k
ONLY = "groups"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if largest_group(g_idx) > 2**15 - 1 and (g_idx[1:] < g_idx[:-1]).any():
        raise RuntimeError("negative offset")
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
