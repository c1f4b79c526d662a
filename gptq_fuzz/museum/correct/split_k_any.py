"""Rounds in float32: K cut at random into 1 to 16 parts at each call, joined in random order."""

import random

from gptq_fuzz.museum.parts import weights

CUTS = random.Random()  # its own, seeded by the system: Python's global one stays as it is
MOST = 16


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    cuts = sorted(CUTS.randrange(len(w) + 1) for _ in range(CUTS.randrange(MOST)))
    parts = zip(x.float().tensor_split(cuts, dim=1), w.tensor_split(cuts), strict=True)
    sums = [part @ rows for part, rows in parts]
    CUTS.shuffle(sums)
    return sum(sums).to(x.dtype)
