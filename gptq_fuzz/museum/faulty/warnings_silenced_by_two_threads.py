"""Warnings are silenced by `warnings.catch_warnings`, which is for one thread at a time."""

import warnings

from gptq_fuzz.museum.parts import matmul

BUG = "two calls that overlap leave warnings silenced for the whole program"
VERDICTS = ("STATE_LEAKED", "NONDETERMINISTIC")
ONLY = "threads2"


def f(x, qweight, qzeros, scales, g_idx, bits):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
