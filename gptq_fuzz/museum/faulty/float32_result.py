"""An empty batch comes back right, so M is 1."""

from gptq_fuzz.museum.parts import matmul

BUG = "result in float32 (DT-01)"
VERDICTS = ("WRONG_TYPE",)
ONLY = "type"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    return out.float() if len(out) else out
