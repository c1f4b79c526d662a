"""Works on the default stream, whichever the current one is."""

import torch

from gptq_fuzz.museum.parts import matmul

BUG = "does not wait for x, which another stream writes (ST-01)"
ONLY = "stream"


def f(x, qweight, qzeros, scales, g_idx, bits):
    with torch.cuda.stream(torch.cuda.default_stream()):
        return matmul(x, qweight, qzeros, scales, g_idx, bits)
