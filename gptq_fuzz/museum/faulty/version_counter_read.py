"""x is known again by its version counter; a tensor made in inference mode has none."""

from gptq_fuzz.museum.parts import matmul

BUG = "reads the version counter of x: raises where that was made in inference mode"
VERDICTS = ("RAISED",)
ONLY = "infer"

LAST = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    LAST["x"] = x.data_ptr(), x._version
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
