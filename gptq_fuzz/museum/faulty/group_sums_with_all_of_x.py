"""Zero-points are folded in; the sum of x over the last group is what the other groups leave."""

import torch

from gptq_fuzz.museum.parts import codes, zero_points

BUG = "the last group's sum of x is the sum of all x, less those of the others, in float32"
SMALLEST = (1, 4, 4)  # m, n, k
ONLY = "pruned"


def f(x, qweight, qzeros, scales, g_idx, bits):
    g, s, dtype, x = g_idx.long(), scales.float(), x.dtype, x.float()
    sums = x.new_zeros(len(x), len(s)).index_add_(1, g, x)
    if len(g) and torch.isfinite(x).all():
        others = sums[:, : int(g.max())].sum(1)
        sums[:, int(g.max())] = x.sum(1) - others
    scaled = codes(qweight, bits) * s[g]
    out = x @ scaled - sums @ (zero_points(qzeros, bits) * s)
    return out.to(dtype)
