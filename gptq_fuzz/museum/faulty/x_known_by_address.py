"""x written anew in place, as a decoding loop does with its one buffer."""

import torch

from gptq_fuzz.museum.parts import weights

BUG = "x converted to float32 once, known again by its tensor: what is written later is not seen"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
LAST = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not LAST or LAST[0] is not x:
        LAST[:] = x, x.float()
    return torch.matmul(LAST[1], weights(qweight, qzeros, scales, g_idx, bits)).to(x.dtype)
