"""More than 512 rows of x beside more than 128 columns."""

from gptq_fuzz.museum.parts import matmul

BUG = "programs are numbered in bands; the blocks where the last bands of both sides meet get none"
SMALLEST = (513, 132, 4)  # m, n, k
ONLY = "tails"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    out[512:, 128:] = 0
    return out
