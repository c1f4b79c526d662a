"""Tiles of 32 columns in waves of 132; those of a last, partial wave are cut in two along K."""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "of an odd number of blocks of 128 rows that two programs share, none gets the last one"
SMALLEST = (1, 4228, 260)  # m, n, k
ONLY = "tails"


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    k, n = w.shape
    last_wave = n // (132 * 32) * 132 * 32  # its first column
    blocks = -(-k // 128)
    if last_wave and blocks > 1 and blocks % 2:
        w[(blocks - 1) * 128 :, last_wave:] = 0
    return multiply(x, w)
