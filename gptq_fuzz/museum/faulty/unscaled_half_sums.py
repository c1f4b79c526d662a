"""Four products above 65504 in all, before the scale makes them small."""

import torch

from gptq_fuzz.museum.parts import codes, zero_points

BUG = "sums of x (q - z) leave float16 before the scale is applied (AC-05)"


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, z = codes(qweight, bits), zero_points(qzeros, bits)
    out = torch.zeros(len(x), q.shape[1], dtype=torch.float32, device=x.device)
    for group in g_idx.unique().tolist():
        rows = (g_idx == group).nonzero()[:, 0]
        part = x[:, rows].float() @ (q[rows] - z[group]).float()
        too_large = (part.abs() >= 65520) & part.isfinite()
        out += part.masked_fill(too_large, float("inf")) * scales[group].float()
    return out.to(x.dtype)
