"""More than 65,535 rows: no drawn case has them."""

from gptq_fuzz.museum.parts import matmul

BUG = "rows in the second grid dimension, which ends at 65535 (MK-13, museum 19)"
VERDICTS = ("RAISED",)
SMALLEST = (65536, 4, 4)  # m, n, k
MISSED = "no drawn case has so many rows; tests/triton/test_configs.py asks our own kernel"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if len(x) > 65535:
        raise RuntimeError("invalid configuration argument")
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
