"""For symmetric codes: s sum x (q - c) - s (z - c) sum x, c = 2^(bits-1), a group a turn."""

import torch

from gptq_fuzz.museum.parts import codes, zero_points


def f(x, qweight, qzeros, scales, g_idx, bits):
    middle = 2 ** (bits - 1)
    q, z = (codes(qweight, bits) - middle).float(), (zero_points(qzeros, bits) - middle).float()
    out = torch.zeros(len(x), q.shape[1], dtype=torch.float32, device=x.device)
    for group in g_idx.unique().tolist():
        rows = (g_idx == group).nonzero()[:, 0]
        part, s = x[:, rows].float(), scales[group].float()
        out += s * (part @ q[rows]) - s * z[group] * part.sum(1, keepdim=True)
    return out.to(x.dtype)
