"""K above 2048 and no multiple of 128."""

from gptq_fuzz.museum.parts import matmul

BUG = "no thread configuration for a K of 2880 (museum 27)"
VERDICTS = ("RAISED",)
SMALLEST = (1, 4, 2052)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) and x.shape[1] > 2048 and x.shape[1] % 128:
        raise RuntimeError(f"no thread configuration for K = {x.shape[1]}")
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
