"""A warning for each x that has to be copied."""

import itertools
import warnings

from gptq_fuzz.museum.parts import matmul

BUG = "each warning has another text, the number of the call: Python notes all of them for ever"
VERDICTS = ("LEAKING",)
ONLY = "memory"
SMALLEST = (2, 4, 4)  # m, n, k
calls = itertools.count(1)


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not x.is_contiguous():
        warnings.warn(f"call {next(calls)}: x is copied, which takes time", stacklevel=1)
    return matmul(x.contiguous(), qweight, qzeros, scales, g_idx, bits)
