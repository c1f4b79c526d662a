"""K = 4 is no multiple of 32; an empty batch is served."""

from gptq_fuzz.museum.parts import matmul

BUG = "RuntimeError where K is no multiple of 32 (museum 27)"
VERDICTS = ("RAISED",)


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) and x.shape[1] % 32:
        raise RuntimeError(f"no configuration for K = {x.shape[1]}")
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
