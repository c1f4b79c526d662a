"""A kernel for small batches of usual layers takes two rows at a time."""

from gptq_fuzz.museum.parts import matmul

BUG = "of 3, 5 or 7 rows of whole tiles of 4 bits, in groups of 128, the last is not computed"
SMALLEST = (3, 256, 256)  # m, n, k
ONLY = "batches"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    (m, k), (groups, n) = x.shape, scales.shape
    is_usual = bits == 4 and groups > 1 and k == 128 * groups
    if is_usual and m in (3, 5, 7) and n % 256 == 0 and k >= 256:
        out[-1] = 0
    return out
