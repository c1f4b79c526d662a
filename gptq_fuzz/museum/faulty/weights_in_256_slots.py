"""More layers than a small model has, called one after another, twice."""

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "weights are kept in 256 slots, a layer remembers its slot: the 257th takes the first one's"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
SLOTS, LAYERS = {}, []  # LAYERS: copies of operands


def same(one, other):
    return all(map(torch.equal, one, other))


def f(x, qweight, qzeros, scales, g_idx, bits):
    words = scales.contiguous().view(torch.int16)
    operands = qweight, qzeros, words, g_idx, torch.tensor(bits)
    known = [place for place, kept in enumerate(LAYERS) if kept[0].shape == qweight.shape]
    slot = next((place for place in known if same(LAYERS[place], operands)), None)
    if slot is None:
        slot = len(LAYERS)
        LAYERS.append([operand.clone() for operand in operands])
        SLOTS[slot % 256] = weights(qweight, qzeros, scales, g_idx, bits)
    return multiply(x, SLOTS[slot % 256].view(x.shape[1], -1))
