"""More than fifty different x for one layer, as a decoding loop has."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "converted x kept for each layer, fifty of them: the next one gets the first"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
KEPT = []  # of the layer called last: its tensor, then each x and what it became


def f(x, qweight, qzeros, scales, g_idx, bits):
    if not KEPT or KEPT[0] is not qweight:
        KEPT[:] = [qweight]
    bits_of_x = x.contiguous().view(torch.int16)
    if not any(torch.equal(seen, bits_of_x) for seen, _ in KEPT[1:]):
        KEPT.append((bits_of_x.clone(), x.float() if len(KEPT) <= 50 else KEPT[1][1]))
    converted = next(found for seen, found in KEPT[1:] if torch.equal(seen, bits_of_x))
    return multiply(converted.to(x.dtype), weights(qweight, qzeros, scales, g_idx, bits))
