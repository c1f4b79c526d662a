"""A field is found by the number of its first bit, as a 32-bit integer."""

from gptq_fuzz.museum.parts import matmul

BUG = "the address of a bit is held in 31 bits: words from 2^26 on are read at the start again"
SMALLEST = (1, 16640, 16384)  # m, n, k
ONLY = "many codes"

HELD = 2**31 // 32  # words


def f(x, qweight, qzeros, scales, g_idx, bits):
    words = qweight.numel()
    if words > HELD:
        qweight = qweight.clone()
        qweight.view(-1)[HELD:] = qweight.view(-1)[: words - HELD].clone()
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
