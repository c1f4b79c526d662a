"""The last words behind a whole tile of 128 along K, of a tail that is almost a tile."""

from gptq_fuzz.museum.parts import matmul

BUG = "behind whole tiles of 128 a tail of 124 rows is summed as one of 112"
SMALLEST = (1, 4, 252)  # m, n, k
ONLY = "K"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if x.shape[1] > 128 and x.shape[1] % 128 == 124:
        x = x.clone()
        x[:, -12:] = 0
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
