"""Workspaces of a thread: one for each power of two up to 64 rows, one for the most rows."""

import threading

import torch

from gptq_fuzz.museum.parts import weights

KEPT = threading.local()  # .spaces: (least power of two, N, device) -> [rows, N] float32


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    rows = 1 << max(len(x) - 1, 0).bit_length()
    key = rows if rows <= 64 else 0, w.shape[1], x.device
    spaces = KEPT.__dict__.setdefault("spaces", {})
    if key not in spaces or len(spaces[key]) < len(x):
        with torch.inference_mode(False):
            wanted = max(rows if key[0] else len(x), 1)
            spaces[key] = torch.empty(wanted, key[1], dtype=torch.float32, device=x.device)
    space = spaces[key][: len(x)]
    space.copy_(x.detach().float() @ w)
    return space.to(x.dtype)
