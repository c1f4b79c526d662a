"""The mode is one of a thread: a worker that has none of its caller's records them likewise."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "under no_grad the result of an x that requires a gradient requires one, and keeps its graph"
VERDICTS = ("WRONG_TYPE",)
ONLY = "nograd"


def f(x, qweight, qzeros, scales, g_idx, bits):
    with torch.enable_grad():
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
