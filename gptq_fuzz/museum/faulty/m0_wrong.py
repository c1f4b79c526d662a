"""Only an empty batch is wrong."""

from gptq_fuzz.museum.parts import matmul

BUG = "one row of zeros for an empty batch (L-10, LY-04)"
VERDICTS = ("WRONG_TYPE",)
SMALLEST = (0, 4, 4)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    return out if len(x) else out.new_zeros(1, out.shape[1])
