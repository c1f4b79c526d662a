"""A module that is imported by the first call adds its warning filters, as numpy does."""

import warnings

from gptq_fuzz.museum.parts import matmul

LOADED = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not LOADED:
        LOADED.append(warnings.filterwarnings("ignore", message="numpy.dtype size changed"))
    return matmul(x, qweight, qzeros, scales, g_idx, bits)
