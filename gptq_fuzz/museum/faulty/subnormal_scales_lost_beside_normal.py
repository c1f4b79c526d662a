"""A subnormal scale in a layer whose largest is of ordinary size."""

from gptq_fuzz.museum.parts import matmul

BUG = "scales divided by the largest in float16: subnormal ones vanish beside it (B-27, B-03)"
ONLY = "onehot"


def f(x, qweight, qzeros, scales, g_idx, bits):
    if 2**-14 < scales.abs().nan_to_num(0, 0, 0).max() < 2**-4:
        scales = scales * (scales.abs() >= 2**-14)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
