"""The first call of a shape, broken off: which configs can be launched is found out there."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a config whose first launch raises is never tried again, whatever it was that raised"
VERDICTS = ("RAISED",)
ONLY = "history"
STRUCK_OFF = set()


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    for columns in (len(w.T), 8):
        config = (*w.shape, columns)
        if config in STRUCK_OFF:
            continue
        try:
            return torch.cat([multiply(x, part) for part in w.split(columns, dim=1)], dim=1)
        except RuntimeError:
            STRUCK_OFF.add(config)
            raise
    raise RuntimeError(f"no config for weights of {tuple(w.shape)} can be launched")
