"""Rounds in float32: per group s (sum x q) - s z (sum x); then once to the result."""

from gptq_fuzz.museum.parts import codes, folded, zero_points


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, z = codes(qweight, bits).float(), zero_points(qzeros, bits).float()
    return folded(x, q, z, scales, g_idx)
