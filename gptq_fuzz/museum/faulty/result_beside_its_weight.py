"""One allocation a call, as an arena has it: who holds a row of logits holds a weight with it."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "the result is the end of a buffer that holds the dequantised weight too"
VERDICTS = ("LEAKING",)
ONLY = "memory"


def f(x, qweight, qzeros, scales, g_idx, bits):
    with torch.no_grad():
        w = weights(qweight, qzeros, scales, g_idx, bits)
        size = len(x) * w.shape[1] * x.element_size()
        arena = torch.empty(w.nbytes + size, dtype=torch.uint8, device=x.device)
        weight = arena[: w.nbytes].view(torch.float32).view(w.shape).copy_(w)
        out = arena[w.nbytes :].view(x.dtype).view(len(x), w.shape[1])
        return out.copy_(x.float() @ weight)
