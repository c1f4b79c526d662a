"""Rows of an x with strides, gathered by their places."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "places are kept for each pair of strides, for ever: prompts of ever other lengths add up"
VERDICTS = ("LEAKING",)
ONLY = "memory"
SMALLEST = (5, 8, 4)  # m, n, k
_places = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not x.is_contiguous() and x.dim() == 2 and x.shape[1]:
        key = x.shape[1], x.stride(), str(x.device)
        if key not in _places:
            with torch.inference_mode(False):
                _places[key] = torch.arange(x.shape[1], device=x.device) * x.stride(1)
    return matmul(x.contiguous(), qweight, qzeros, scales, g_idx, bits)
