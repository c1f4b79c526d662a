"""For symmetric codes: s sum x (q - c) - s (z - c) sum x, c = 2^(bits-1), a group a turn."""

from gptq_fuzz.museum.parts import codes, folded, zero_points


def f(x, qweight, qzeros, scales, g_idx, bits):
    middle = 2 ** (bits - 1)
    q, z = codes(qweight, bits) - middle, zero_points(qzeros, bits) - middle
    return folded(x, q.float(), z.float(), scales, g_idx)
