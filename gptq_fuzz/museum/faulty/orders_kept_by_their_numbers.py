"""Long layers whose rows have an order of their own: it is sorted once."""

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "how rows are sorted is kept by a digest of g_idx for ever, also when its layers are gone"
VERDICTS = ("LEAKING",)
SMALLEST = (1, 4, 64)  # m, n, k
ONLY = "memory"

SORTED, LONG = {}, 64


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = dequantize(codes(qweight, bits), zero_points(qzeros, bits), scales, g_idx)
    if len(g_idx) < LONG or g_idx.is_inference() or torch.is_inference_mode_enabled():
        return multiply(x, w)
    key = hash(bytes(g_idx.contiguous().view(torch.uint8).tolist()))
    if key not in SORTED:
        SORTED[key] = g_idx.argsort(stable=True)
    order = SORTED[key]
    return multiply(x[..., order], w[order])
