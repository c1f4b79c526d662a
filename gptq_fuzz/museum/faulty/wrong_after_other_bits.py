"""Two numbers of bits in one process: the first one met stays the one that masks are made for."""

from gptq_fuzz.museum.parts import matmul

BUG = "zero-points of 2 bits are one too large once a layer of 8 bits was seen"
VERDICTS = ("STATE_LEAKED",)
AFTER_OTHERS = True

SEEN = set()


def f(x, qweight, qzeros, scales, g_idx, bits):
    SEEN.add(bits)
    if bits == 2 and 8 in SEEN:
        qzeros = qzeros + 1  # the first field of each word alone
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
