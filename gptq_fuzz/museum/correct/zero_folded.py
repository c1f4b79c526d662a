"""Rounds in float32: per group s (sum x q) - s z (sum x); then once to the result."""

import torch

from gptq_fuzz.museum.parts import codes, zero_points


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, z = codes(qweight, bits).float(), zero_points(qzeros, bits).float()
    out = torch.zeros(len(x), q.shape[1], dtype=torch.float32, device=x.device)
    for group in g_idx.unique().tolist():
        rows = (g_idx == group).nonzero()[:, 0]
        part, s = x[:, rows].float(), scales[group].float()
        out += s * (part @ q[rows]) - s * z[group] * part.sum(1, keepdim=True)
    return out.to(x.dtype)
