"""Rounds as float32_weights does; writes to stdout and stderr and warns, which is no fault."""

import os
import sys
import warnings

from gptq_fuzz.museum.parts import multiply, weights


def f(x, qweight, qzeros, scales, g_idx, bits):
    sys.stdout.write("WRONG: not a verdict\n")
    os.write(1, b"\xff\x00 not a verdict either\n")
    sys.stderr.write("Segmentation fault\n")
    warnings.warn("a kernel's own warning", stacklevel=1)
    return multiply(x, weights(qweight, qzeros, scales, g_idx, bits))
