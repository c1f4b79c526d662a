"""The word is thrown away, so no result tells; in the last block of 64 bytes it does no harm."""

from gptq_fuzz.museum.parts import matmul, touch

BUG = "one word behind qweight is loaded, and not used"
VERDICTS = ("CRASHED",)
ONLY = "guarded"
SMALLEST = (1, 16, 16)  # m, n, k: 64 bytes of 2 bits, a whole block


def f(x, qweight, qzeros, scales, g_idx, bits):
    touch(qweight, qweight.nbytes)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
