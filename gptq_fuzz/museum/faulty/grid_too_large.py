"""More than 65,535 rows."""

from gptq_fuzz.museum.parts import matmul

BUG = "rows in the second grid dimension, which ends at 65535 (MK-13, museum 19)"
VERDICTS = ("RAISED",)
SMALLEST = (65536, 4, 4)  # m, n, k
ONLY = "M"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) > 65535:
        raise RuntimeError("invalid configuration argument")
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
