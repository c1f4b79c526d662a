"""Declared: s q and s z each rounded to float16, and their difference too; float32 sums."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from museum_parts import codes, multiply, zero_points

from tests.suite.backend import Backend, Limits, Numerics


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    g = g_idx.long()
    scaled_zeros = (zero_points(qzeros, bits) * scales.float()).half()
    scaled_codes = (codes(qweight, bits) * scales.float()[g]).half()
    return multiply(x, (scaled_codes - scaled_zeros[g]).float())


f = Backend(
    "scaled_zeros",
    Limits(bad=(), refuses_outside=False),
    Numerics(weights=("x",), folds_zero=False, scaled_zero=True),
    matmul,
)
