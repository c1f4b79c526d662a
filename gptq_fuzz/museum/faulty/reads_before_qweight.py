"""As of a pipeline that begins one stage too early; its first load is thrown away."""

from gptq_fuzz.museum.parts import matmul, touch

BUG = "one word before qweight is loaded, and not used"
VERDICTS = ("CRASHED",)
ONLY = "guarded"


def f(x, qweight, qzeros, scales, g_idx, bits):
    touch(qweight, -4)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
