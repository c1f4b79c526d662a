"""N = 4 is all tail."""

from gptq_fuzz.museum.parts import matmul

BUG = "columns after the last multiple of 32 are zeros (PK-11, L-18, museum 24)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    out[:, out.shape[1] // 32 * 32 :] = 0
    return out
