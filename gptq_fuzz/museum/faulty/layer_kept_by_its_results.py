"""Results in flight are counted, so that the weight of a layer in use is not given up."""

import weakref

import torch

from gptq_fuzz.museum.parts import weights

BUG = "who holds a result holds the dequantised weight of its layer, after the layer's end too"
VERDICTS = ("LEAKING",)
ONLY = "memory"

KEPT = {}  # id of qweight -> what was made of it, while it lives


class Weight:
    def __init__(self, made):
        self.made, self.in_flight = made, 0

    def done(self):
        self.in_flight -= 1


def kept(qweight, qzeros, scales, g_idx, bits):
    state = [(id(part), part._version) for part in (qweight, qzeros, scales, g_idx)]
    found = KEPT.get(id(qweight))
    if found is None or found[0]() is not qweight or found[1] != state:
        with torch.no_grad(), torch.inference_mode(False):
            made = Weight(weights(qweight, qzeros, scales, g_idx, bits))
        key = id(qweight)
        KEPT[key] = found = weakref.ref(qweight, lambda _: KEPT.pop(key, None)), state, made
    return found[2]


def f(x, qweight, qzeros, scales, g_idx, bits):
    operands = qweight, qzeros, scales, g_idx, bits
    if any(part.is_inference() for part in operands[:4]):
        return (x.float() @ weights(*operands)).to(x.dtype)
    weight = kept(*operands)
    out = (x.float() @ weight.made).to(x.dtype)
    weight.in_flight += 1
    weakref.finalize(out, weight.done).atexit = False
    return out
