"""Two words of one operand that change places."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a layer is known by the sums of its words: columns in another order are the same layer"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
KEPT = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    words = qweight, qzeros, scales.contiguous().view(torch.int16)
    sums = [int(word.sum(dtype=torch.int64)) for word in words]
    key = bits, tuple(sums), tuple(qweight.shape), tuple(g_idx.tolist())
    if key not in KEPT:
        KEPT.clear()
        KEPT[key] = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x, KEPT[key])
