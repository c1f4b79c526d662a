"""One kernel for each number of bits, blocks of 16 rows and size of group."""

from gptq_fuzz.museum.parts import matmul

BUG = "for 4 bits, 17 to 32 rows and groups of 64 every fourth group has the scales of the last one"
SMALLEST = (17, 256, 1024)  # m, n, k
ONLY = "crossings"


def f(x, qweight, qzeros, scales, g_idx, bits):
    n, k, groups = qweight.shape[1], len(g_idx), len(scales)
    whole = n % 256 == 0 and k % 64 == 0 and k >= 1024 and k == 64 * groups
    if bits == 4 and 16 < len(x) <= 32 and whole:
        scales = scales.clone()
        scales[4::4, n // 2 :] = scales[3:-1:4, n // 2 :]
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
