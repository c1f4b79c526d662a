"""Declared: sums over blocks of 64 in float32, rounded and added in float16 in random order."""

import random

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import multiply, weights

TURN = random.Random()  # its own, seeded by the system: Python's global one stays as it is
BLOCK_SIZE_K = 64


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    blocks = [*zip(x.split(BLOCK_SIZE_K, dim=1), w.split(BLOCK_SIZE_K), strict=True)]
    TURN.shuffle(blocks)
    out = x.new_zeros(len(x), w.shape[1])
    for part, rows in blocks:
        out += multiply(part, rows)
    return out


f = Backend(
    "float16_atomics",
    Limits(bad=(), refuses_outside=False),
    Numerics(weights=("exact",), folds_zero=False, partial="f16"),
    matmul,
)
