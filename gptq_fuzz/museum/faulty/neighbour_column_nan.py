"""A word of columns holds the one with NaN and the one hit."""

from gptq_fuzz.museum.parts import matmul

BUG = "NaN in the scales of a column spreads to the next column (B-28)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    out[:, 1:][:, scales.isnan().any(0)[:-1]] = float("nan")
    return out
