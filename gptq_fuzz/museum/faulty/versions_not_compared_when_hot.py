"""A layer that is written after a hundred calls."""

import weakref

from torch.utils.weak import WeakTensorKeyDictionary

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the weights of a layer that was called a hundred times are kept, whatever is written later"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
HOT = 100
LAYERS = WeakTensorKeyDictionary()  # qweight -> what else it has, calls and weights


def f(x, qweight, qzeros, scales, g_idx, bits):
    others = qzeros, scales, g_idx
    layer = LAYERS.get(qweight)
    if layer is None or any(
        ref() is not one for ref, one in zip(layer["refs"], others, strict=True)
    ):
        refs = [weakref.ref(operand) for operand in others]
        layer = LAYERS[qweight] = {"refs": refs, "calls": 0, "weights": None}
    layer["calls"] += 1
    if layer["weights"] is not None:
        return multiply(x, layer["weights"])
    w = weights(qweight, qzeros, scales, g_idx, bits)
    if layer["calls"] == HOT:
        layer["weights"] = w
    return multiply(x, w)
